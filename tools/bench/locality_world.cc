#include "tools/bench/locality_world.h"

#include <algorithm>

namespace dvm::bench {
namespace {

using locality::Observation;
using locality::SeenKind;

u64 key(u32 page, u8 node) { return static_cast<u64>(page) << 8 | node; }
u32 saturated(double ns) { return static_cast<u32>(std::min(ns, 4e9)); }

// A mapping that is made again, beside a page that is moved.
constexpr double kSampleShare = 0.4;

}  // namespace

PageWorld::PageWorld(const MemoryWorkload& workload, const locality::CostModel& costs,
                     u64 region_pages, locality::Policy& policy)
    : costs_(costs), policy_(policy), region_left_(region_pages), pages_(workload.pages) {
  for (u32 i = 0; i < workload.pages; ++i) {
    const u8 owner = workload.first_owner(i);
    if (owner < locality::kMaxNodes)
      pages_[i] = {Mode::owned, owner, 0, static_cast<u16>(1u << owner), 0};
  }
}

bool PageWorld::is_here(const Page& p, u8 node, bool write) const {
  if (p.mode == Mode::shared) return true;
  if (p.mode == Mode::owned) return p.owner == node;
  return p.mode == Mode::copied && !write && (p.copies >> node & 1) != 0;
}

u8 PageWorld::holder(const Page& p, u8 node) const {
  if (p.mode == Mode::owned) return p.owner;
  const u32 others = p.copies & ~(1u << node);
  return p.mode == Mode::copied && others != 0 ? locality::kCopies : locality::kAtHome;
}

// Wanted again by a node that has lost it, or to be written while another has it. A node's first
// copy is none of that.
bool PageWorld::is_contended(const Page& p, u8 node, bool write) {
  return write || (p.had >> node & 1) != 0;
}

void PageWorld::take(Page& p, u8 node, bool write) {
  p.had |= static_cast<u16>(1u << node);
  if (write || p.mode == Mode::home) {
    p.mode = Mode::owned;
    p.owner = node;
    p.copies = 0;
    return;
  }
  if (p.mode == Mode::owned) p.copies = static_cast<u16>(1u << p.owner);
  p.mode = Mode::copied;
  p.copies |= static_cast<u16>(1u << node);
}

double PageWorld::fault(const MemoryAccess& a, u16 vcpu, u8 node, u64 now_ns) {
  Page& p = pages_[a.page];
  Observation seen{.time_ns = now_ns,
                   .page = a.page,
                   .took_ns = saturated(costs_.page_move_ns),
                   .vcpu = vcpu,
                   .node = node,
                   .from = holder(p, node),
                   .kind = a.write ? SeenKind::write : SeenKind::read};
  double cost = costs_.page_move_ns;
  ++counts_.faults;
  if (locality::is_hand_over(seen)) ++counts_.from_elsewhere;
  if (locality::is_hand_over(seen) && is_contended(p, node, a.write)) {
    if (region_left_ > 0 && policy_.share_now(seen, static_cast<double>(p.spent_ns), costs_)) {
      cost = costs_.page_share_ns;
      p.mode = Mode::shared;
      --region_left_;
      ++counts_.shared;
    }
    p.spent_ns += static_cast<float>(cost);
  }
  if (p.mode != Mode::shared) take(p, node, a.write);
  seen.took_ns = saturated(cost);
  policy_.observe(seen);
  fault_cost_ns_ += cost;
  return cost;
}

double PageWorld::touch_sampled(u32 page, u16 vcpu, u8 node, u64 now_ns) {
  const auto found = sampled_.find(key(page, node));
  if (found == sampled_.end()) return 0;
  policy_.observe(
      {.time_ns = now_ns,
       .page = page,
       .took_ns = saturated(static_cast<double>(now_ns - std::min(now_ns, found->second))),
       .vcpu = vcpu,
       .node = node,
       .from = node,
       .kind = SeenKind::sample});
  sampled_.erase(found);
  ++counts_.samples;
  return costs_.page_move_ns * kSampleShare;
}

double PageWorld::access(const MemoryAccess& a, u16 vcpu, u8 node, u64 now_ns) {
  ++counts_.accesses;
  double cost = 0;
  if (!is_here(pages_[a.page], node, a.write)) {
    cost = fault(a, vcpu, node, now_ns);
  } else if (!sampled_.empty()) {
    cost = touch_sampled(a.page, vcpu, node, now_ns);
  }
  const double line = pages_[a.page].mode == Mode::shared ? costs_.region_ns : costs_.dram_ns;
  return cost + a.lines * line;
}

void PageWorld::sample(const locality::SampleWish& wish, u64 now_ns) {
  if (wish.page < pages_.size() && is_here(pages_[wish.page], wish.node, false))
    sampled_[key(wish.page, wish.node)] = now_ns;
}

double PageWorld::take_fault_cost() {
  const double cost = fault_cost_ns_;
  fault_cost_ns_ = 0;
  return cost;
}

}  // namespace dvm::bench
