#include "hyperkernel/locality/learned_policy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dvm::locality {
namespace {

// What was paid for fetching halves in this time; a tie to a vCPU on the same node, of which no
// fault tells any more, in a longer one.
constexpr double kHalfLifeNs = 2e9, kQuietHalfLifeNs = 30e9;
// Looking costs so much of the vCPUs' time, and of what faults cost.
constexpr double kLookingShare = 0.01, kLookingShareOfFaults = 0.05;
// What a neighbour left behind where it came from may be shared with it, or have been its alone.
constexpr double kNeighboursWeight = 0.25;
// What it left behind itself may be the rest of what it uses, or what it uses again from now on.
constexpr double kOwnWeight = 0.5;
constexpr u32 kSamples = 8;       // of one vCPU's pages, at once
constexpr double kMostLooks = 4;  // for each vCPU, that may be saved up
constexpr u32 kProbes = 4096;     // slots looked at to find them
constexpr u64 kHoldOffSteps = 2;  // before a page of two vCPUs that may yet come together is shared

}  // namespace

LearnedPolicy::Vcpu& LearnedPolicy::vcpu(u16 index) {
  if (vcpus_.size() <= index) vcpus_.resize(index + 1u);
  return vcpus_[index];
}

void LearnedPolicy::observe(const Observation& seen) {
  if (seen.node >= kMaxNodes) return;
  if (seen.kind == SeenKind::sample) return see_sample(seen);
  see_fault(seen);
}

void LearnedPolicy::forget(PageHistory& h) {
  if (h.counted && h.vcpu < vcpus_.size()) {
    u32& own = vcpus_[h.vcpu].ties.own_pages[h.node];
    own -= own > 0 ? 1u : 0u;
  }
  h.counted = false;
}

bool LearnedPolicy::lives_on(u16 v, u8 node) const {
  return v < placement_.node_of.size() && placement_.node_of[v] == node;
}

// Of a page that comes back sooner than that both ends are using it: a working set of some hundred
// pages comes back one after another.
bool LearnedPolicy::is_lately(u64 then_ns, u64 now_ns) const {
  constexpr double kLeastNs = 100e6, kMoves = 300;
  return static_cast<double>(now_ns - std::min(now_ns, then_ns)) <
         kLeastNs + kMoves * costs_.page_move_ns;
}

void LearnedPolicy::see_fault(const Observation& seen) {
  PageHistory& h = pages_.place(seen.page);
  if (h.page != seen.page) {
    forget(h);
    h = {.page = seen.page, .first_ns = seen.time_ns};
  }
  const bool known = seen.vcpu < kMaxVcpus;
  if (known) vcpu(seen.vcpu);
  if (last_step_ns_ == 0) last_step_ns_ = seen.time_ns;
  if (!is_lately(h.last_ns, seen.time_ns)) h.nodes = 0;
  const bool returns = (h.nodes >> seen.node & 1) != 0 && h.node != seen.node;
  if (is_hand_over(seen)) see_hand_over(seen, h, returns);
  forget(h);
  const bool its_own = !returns || h.vcpu == seen.vcpu;
  h.vcpu = seen.vcpu;
  h.node = seen.node;
  h.nodes |= static_cast<u16>(1u << seen.node);
  h.last_ns = seen.time_ns;
  if (seen.kind == SeenKind::write) {
    h.written_ns = seen.time_ns;
    h.written_by = seen.node;
  }
  if (!known || !its_own) return;
  ++vcpus_[seen.vcpu].ties.own_pages[seen.node];
  h.counted = true;
}

void LearnedPolicy::see_hand_over(const Observation& seen, PageHistory& h, bool returns) {
  h.spent_ns += seen.took_ns;
  may_look_ns_ += seen.took_ns * kLookingShareOfFaults;
  ++h.moves;
  if (h.written_ns != 0 && h.written_by != seen.node && seen.time_ns > h.written_ns) {
    const double idle = static_cast<double>(seen.time_ns - h.written_ns);
    h.idle_ns = h.idle_ns == 0 ? idle : h.idle_ns + (idle - h.idle_ns) / 4;
  }
  if (seen.from < kMaxNodes) h.nodes |= static_cast<u16>(1u << seen.from);
  // What more than two use is near none of them, wherever they are.
  if (seen.vcpu >= kMaxVcpus || h.node_count() > 2) return;
  const bool other = h.vcpu < vcpus_.size() && h.vcpu != seen.vcpu;
  VcpuTies& ties = vcpus_[seen.vcpu].ties;
  if (returns && other) {
    ties.tie_with(h.vcpu).ns += seen.took_ns;
    vcpus_[h.vcpu].ties.tie_with(seen.vcpu).ns += seen.took_ns;
    return;
  }
  // Left behind by its own move: nothing draws it there.
  if ((returns && h.vcpu == seen.vcpu) || seen.from >= kMaxNodes) return;
  // By the move of one that is here now: if they share it, neither.
  const bool neighbours = lives_on(h.vcpu, seen.node);
  if (neighbours && ties.bound_to(h.vcpu)) return;
  const double weight = !neighbours ? 1 : other ? kNeighboursWeight : kOwnWeight;
  ties.pull_ns[seen.from] += weight * seen.took_ns;
  ties.pulled[seen.from] += 1;
  ++ties.since_step[seen.from];
  if (ties.pulls_since_ns == 0) ties.pulls_since_ns = seen.time_ns;
  if (!other) return;
  Tie& tie = ties.tie_with(h.vcpu);
  tie.stock_ns = tie.stock_node == seen.from ? tie.stock_ns + seen.took_ns : seen.took_ns;
  tie.stock_node = seen.from;
}

void LearnedPolicy::see_sample(const Observation& seen) {
  const PageHistory* h = pages_.find(seen.page);
  if (h == nullptr || h->vcpu >= vcpus_.size() || h->node != seen.node) return;
  // Another's use of it on the same node is no reason to stay.
  if (seen.vcpu != kNoVcpu && seen.vcpu != h->vcpu) return;
  Vcpu& v = vcpus_[h->vcpu];
  if (v.touched < v.asked) ++v.touched;
}

// Two conditions. What the page's hand-overs have cost is what sharing it costs; and, as far as can
// be told, reading it from the coherent region from now on costs less than its hand-overs do.
bool LearnedPolicy::share_now(const Observation& fault, double spent_ns, const CostModel& costs) {
  if (spent_ns < costs.page_share_ns) return false;
  const PageHistory* h = pages_.find(fault.page);
  if (h == nullptr) return true;
  if (h->vcpu == fault.vcpu && fault.vcpu != kNoVcpu) return false;  // it followed its vCPU
  if (h->node_count() == 2 && fault.vcpu < vcpus_.size() && h->vcpu < vcpus_.size()) {
    const u64 since = fault.time_ns - std::min(fault.time_ns, h->first_ns);
    if (since < kHoldOffSteps * step_ns_) return false;
  }
  const double lived = static_cast<double>(fault.time_ns - std::min(fault.time_ns, h->first_ns));
  if (h->idle_ns <= 0 || lived <= 0) return true;
  const double paid = h->spent_ns / lived;
  const double would_pay = h->node_count() * costs.region_extra_ns() / h->idle_ns;
  return paid > would_pay;
}

void LearnedPolicy::decay(u64 now_ns) {
  const double passed = static_cast<double>(now_ns - std::min(now_ns, last_step_ns_));
  const double apart = std::exp2(-passed / kHalfLifeNs);
  const double together = std::exp2(-passed / kQuietHalfLifeNs);
  for (std::size_t v = 0; v < vcpus_.size() && v < placement_.node_of.size(); ++v) {
    VcpuTies& t = vcpus_[v].ties;
    for (u32 n = 0; n < placement_.nodes; ++n) {
      t.pull_ns[n] *= apart;
      t.pulled[n] *= apart;
      const double rate = passed > 0 ? t.since_step[n] / passed * 1e9 : t.recent[n];
      t.recent[n] = t.recent[n] == 0 ? rate : (t.recent[n] + rate) / 2;
      t.since_step[n] = 0;
    }
    for (Tie& tie : t.ties) {
      if (tie.vcpu >= placement_.node_of.size()) continue;
      tie.ns *= placement_.node_of[tie.vcpu] == placement_.node_of[v] ? together : apart;
      tie.stock_ns *= apart;
    }
  }
}

// What was asked for two steps ago and has not been touched is in use no more.
void LearnedPolicy::close_samples(u64 now_ns) {
  for (Vcpu& v : vcpus_) {
    if (v.asked == 0 || now_ns < v.asked_ns + 2 * step_ns_) continue;
    v.in_use = (v.in_use + 7.0 * v.touched / v.asked) / 8;
    v.asked = v.touched = 0;
  }
}

double LearnedPolicy::tied_to(u16 v, u8 node) const {
  double ns = 0;
  for (const Tie& tie : vcpus_[v].ties.ties) {
    if (tie.vcpu < placement_.node_of.size() && placement_.node_of[tie.vcpu] == node)
      ns += tie.ns + (tie.binds() ? tie.stock_ns : 0);
  }
  return ns;
}

// For pages that lie there: without those that a vCPU has with it, wherever it goes; and only as
// far as there are more of them than elsewhere.
double LearnedPolicy::drawn_ns(u16 v, u8 node) const {
  const VcpuTies& t = vcpus_[v].ties;
  double drawn = t.pull_ns[node], elsewhere = 0;
  for (const Tie& tie : t.ties) {
    if (tie.vcpu != kNoVcpu && tie.stock_node == node && tie.binds()) drawn -= tie.stock_ns;
  }
  for (u8 n = 0; n < placement_.nodes; ++n) {
    if (n != node && n != placement_.node_of[v]) elsewhere = std::max(elsewhere, t.pull_ns[n]);
  }
  return drawn - elsewhere;
}

// Less what may be chance: of n faults that fall on nodes as they please, about the root of n more
// fall on one than on another.
double LearnedPolicy::beyond_chance(double ns) const {
  return ns <= 0 ? ns : std::max(0.0, ns - std::sqrt(ns * costs_.page_move_ns));
}

// A working set of which most is here is fetched more and more slowly: so it is seen how much of it
// is left.
double LearnedPolicy::still_to_fetch_ns(u16 v, u8 node) const {
  const VcpuTies& t = vcpus_[v].ties;
  if (t.pulled[node] < 1) return 0;
  const double age = static_cast<double>(last_step_ns_ - std::min(last_step_ns_, t.pulls_since_ns));
  const double remembered = std::clamp(age, 1e6, kHalfLifeNs / std::log(2.0)) / 1e9;
  const double on_average = t.pulled[node] / remembered;
  return kMoreToCome * std::min(1.0, t.recent[node] / on_average) *
         beyond_chance(std::max(0.0, drawn_ns(v, node)));
}

// The move, and fetching again what it fetched lately and what it still uses of the rest.
double LearnedPolicy::price_ns(u16 v, const CostModel& costs) const {
  const VcpuTies& t = vcpus_[v].ties;
  const double own = t.own_pages[placement_.node_of[v]];
  const double fresh = std::min(own, std::accumulate(t.pulled.begin(), t.pulled.end(), 0.0));
  return costs.vcpu_move_ns + (fresh + (own - fresh) * vcpus_[v].in_use) * costs.page_move_ns;
}

// As offer(), where others move as well: whoever it is tied to may not be there any more.
LearnedPolicy::Offer LearnedPolicy::lonely_offer(u16 v, u8 to, const CostModel& costs) const {
  return {.gain_ns = still_to_fetch_ns(v, to) - tied_to(v, placement_.node_of[v]),
          .price_ns = price_ns(v, costs),
          .to = to};
}

LearnedPolicy::Offer LearnedPolicy::offer(u16 v, u8 to, const CostModel& costs) const {
  const u8 from = placement_.node_of[v];
  const double pull = still_to_fetch_ns(v, to);
  const double tied = beyond_chance(tied_to(v, to) - tied_to(v, from));
  Offer o{.gain_ns = pull + tied, .price_ns = price_ns(v, costs), .to = to};
  o.because = tied > pull ? Because::talks_there : Because::pages_there;
  return o;
}

bool LearnedPolicy::free_to_move(u16 v, u64 now_ns) const {
  return now_ns >= vcpus_[v].stays_until_ns;
}

Decision LearnedPolicy::decision(u16 v, const Offer& o, u64 now_ns) const {
  return {.time_ns = now_ns,
          .gain_ns = static_cast<u64>(std::max(o.gain_ns, 0.0)),
          .price_ns = static_cast<u64>(o.price_ns),
          .count = static_cast<u32>(vcpus_[v].ties.pulled[o.to] + 0.5),
          .vcpu = v,
          .from = placement_.node_of[v],
          .to = o.to,
          .act = Act::move_vcpu,
          .because = o.because};
}

void LearnedPolicy::note_move(u16 v, u8 to, u64 now_ns) {
  Vcpu& moved = vcpus_[v];
  const u8 from = placement_.node_of[v];
  const bool returns = moved.came_from == to && now_ns < moved.moved_ns + 4 * moved.stay_ns;
  moved.stay_ns = returns ? std::min(moved.stay_ns * 4, kMostStayNs)
                          : std::max(moved.stay_ns / 2, kLeastStayNs);
  moved.stays_until_ns = now_ns + std::max(moved.stay_ns, 2 * step_ns_);
  moved.moved_ns = now_ns;
  moved.came_from = from;
  moved.ties.forget_pulls();
  moved.in_use = kLikelyInUse;
  moved.asked = moved.touched = 0;
  placement_.node_of[v] = to;
  --load_[from];
  ++load_[to];
}

void LearnedPolicy::decide(u64 now_ns, const Placement& placement, const CostModel& costs,
                           std::vector<Decision>& wanted) {
  if (last_step_ns_ != 0 && now_ns > last_step_ns_)
    step_ns_ = (3 * step_ns_ + (now_ns - last_step_ns_)) / 4;
  placement_ = placement;
  costs_ = costs;
  if (!placement.node_of.empty()) vcpu(static_cast<u16>(placement.node_of.size() - 1));
  load_.fill(0);
  for (const u8 node : placement_.node_of) ++load_[node % kMaxNodes];
  decay(now_ns);
  last_step_ns_ = now_ns;
  close_samples(now_ns);
  fill_arrived(now_ns, costs, wanted);
  for (std::size_t v = 0; v < placement_.node_of.size(); ++v)
    weigh(static_cast<u16>(v), now_ns, costs, wanted);
}

void LearnedPolicy::weigh(u16 v, u64 now_ns, const CostModel& costs,
                          std::vector<Decision>& wanted) {
  if (!free_to_move(v, now_ns)) return;
  Offer best;
  bool found = false;
  for (u8 to = 0; to < placement_.nodes; ++to) {
    if (to == placement_.node_of[v] || placement_.slots[to] == 0) continue;
    const Offer o = offer(v, to, costs);
    if (o.gain_ns <= 0 || (found && o.surplus() <= best.surplus())) continue;
    best = o;
    found = true;
  }
  if (!found) return;
  // It would pay, if only it used less of what it has here: does it?
  vcpus_[v].wants_samples = best.gain_ns > kMargin * costs.vcpu_move_ns && vcpus_[v].asked == 0;
  if (best.surplus() > 0 && load_[best.to] < placement_.slots[best.to]) {
    wanted.push_back(decision(v, best, now_ns));
    note_move(v, best.to, now_ns);
    return;
  }
  if (lonely_offer(v, best.to, costs).surplus() > 0 && make_way(v, best, now_ns, costs, wanted))
    return;
  if (best.gain_ns > kMargin * costs.vcpu_move_ns) exchange(v, best, now_ns, costs, wanted);
}

// It stays where it was, and is left alone for a while: what stood against it may still do.
void LearnedPolicy::refused(const Decision& d) {
  for (const u16 v : {d.vcpu, d.other}) {
    if (v < vcpus_.size()) vcpus_[v].stays_until_ns = d.time_ns + 10 * vcpus_[v].stay_ns;
  }
}

void LearnedPolicy::wish_samples(std::vector<SampleWish>& wishes) {
  const double vcpus = static_cast<double>(placement_.node_of.size());
  const double most = kMostLooks * costs_.page_move_ns * std::max(1.0, vcpus);
  may_look_ns_ =
      std::min(may_look_ns_ + static_cast<double>(step_ns_) * vcpus * kLookingShare, most);
  u32 probes = 0;
  for (std::size_t v = 0; v < vcpus_.size() && v < placement_.node_of.size(); ++v) {
    Vcpu& wanting = vcpus_[v];
    if (!wanting.wants_samples) continue;
    wanting.wants_samples = false;
    wanting.asked_ns = last_step_ns_;
    for (u32 i = 0; i < kProbes && wanting.asked < kSamples && probes < 16 * kProbes;
         ++i, ++probes) {
      probe_ = probe_ * 6364136223846793005u + 1442695040888963407u;
      const PageHistory& h = pages_.at(probe_ >> 33);
      if (!h.counted || h.vcpu != v || h.node != placement_.node_of[v]) continue;
      if (may_look_ns_ < costs_.page_move_ns) return;
      may_look_ns_ -= costs_.page_move_ns;
      wishes.push_back({h.page, h.node});
      ++wanting.asked;
    }
  }
}

}  // namespace dvm::locality
