#include "migration/locality_decider.h"

#include <algorithm>

namespace dvm::migration {

using locality::Act;
using locality::Decision;
using locality::Outcome;
using vmm::Phase;
using vmm::PlaceStage;
namespace layout = vmm::layout;

namespace {

// A move that takes longer than this is called off: who was to carry it out is busy, or gone.
constexpr u64 kPatienceNs = 5'000'000'000;
constexpr u64 kBusyNs = locality::StepClock::kLeastNs;
constexpr u64 kIdleNs = locality::StepClock::kMostNs;
constexpr u64 kPausesForWork = 100;
// A vCPU's pause, and as much again for what its new node does while it runs on.
constexpr u64 kMoveOverPause = 2;
// A node that has come and did not get its first vCPU is given another try so much later.
constexpr u64 kNextArrivalNs = 2'000'000'000;

// The node that has come, as a bit, if the decision gives one its first vCPU.
u32 fills(const Decision& d) { return d.because == locality::Because::node_came ? 1u << d.to : 0; }

}  // namespace

LocalityDecider::LocalityDecider(vmm::Machine& machine)
    : machine_(machine),
      record_(machine.locality()),
      kind_(record_.policy.load()),
      policy_(locality::make_policy(kind_)),
      costs_(locality::costs_of(record_)),
      boot_(machine.state().control.boots.load()) {
  for (u32 n = 0; n < locality::kMaxNodes; ++n)
    places_[n] = record_.nodes[n].seen.tail.load(std::memory_order_acquire);
}

u64 LocalityDecider::work(u64 now_ns) {
  const u64 begun = fabric::monotonic_ns();
  begin_anew();
  take_in();
  settle_moves(now_ns);
  const bool still = kind_ == locality::PolicyKind::fixed;
  const double cost = still ? 0 : std::exchange(fault_cost_ns_, 0);
  const bool dear = cost > locality::StepClock::kMovesWorth * costs_.vcpu_move_ns / 2;
  if (clock_.due(now_ns, cost, costs_) && machine_.state().control.phase.load() == Phase::running)
    step(now_ns);
  // Deciding is not to cost much itself.
  const u64 worked_ns = fabric::monotonic_ns() - begun;
  const u64 pause = dear || !pending_.empty() ? kBusyNs : kIdleNs;
  return now_ns + std::max(pause, std::min(kIdleNs, kPausesForWork * worked_ns));
}

// Another boot is another guest, of which nothing that was learned holds. Another policy has
// learned nothing yet; what the one before has asked for is on its way all the same.
void LocalityDecider::begin_anew() {
  const u32 boot = machine_.state().control.boots.load();
  const auto kind = record_.policy.load();
  if (boot == boot_ && kind == kind_) return;
  if (boot != boot_) pending_.clear();
  boot_ = boot;
  kind_ = kind;
  policy_ = locality::make_policy(kind_);
}

void LocalityDecider::take_in() {
  u64 lost = 0;
  for (u32 n = 0; n < locality::kMaxNodes; ++n) {
    lost += record_.nodes[n].seen.read(places_[n], [this](const locality::Observation& seen) {
      policy_->observe(seen);
      if (!locality::is_fault(seen)) return;
      fault_cost_ns_ += seen.took_ns;
      if (locality::is_hand_over(seen)) locality::learn_cost(costs_.page_move_ns, seen.took_ns);
    });
  }
  if (lost != 0) record_.lost.fetch_add(lost, std::memory_order_relaxed);
}

void LocalityDecider::step(u64 now_ns) {
  std::vector<Decision> wanted;
  const locality::Placement now = placement(now_ns);
  policy_->decide(now_ns, now, costs_, wanted);
  u32 unfilled = 0;
  for (const Decision& decision : wanted) {
    if (!carry_out(decision, now_ns)) unfilled |= fills(decision);
  }
  settle_nodes(now);
  leave_for_later(unfilled, now_ns);
  pass_on_wishes();
  locality::publish_costs(record_, costs_);
  record_.last_step_ns.store(now_ns, std::memory_order_relaxed);
  record_.steps.fetch_add(1, std::memory_order_relaxed);
}

// What is on its way counts as there. At the first step of all nobody has come.
locality::Placement LocalityDecider::placement(u64 now_ns) const {
  locality::Placement p;
  u32 taking = 0;
  for (u32 n = 0; n < layout::kMaxNodes; ++n) {
    if (!machine_.takes_vcpus(n)) continue;
    ++taking;
    p.nodes = n + 1;
  }
  const u32 vcpus = machine_.config().vcpus;
  for (u32 v = 0; v < vcpus; ++v) {
    const vmm::VcpuPlace at = machine_.state().vcpus[v].where();
    const bool leaves = at.stage == PlaceStage::asked || at.stage == PlaceStage::ready;
    p.node_of.push_back(leaves ? at.target : at.node);
    p.nodes = std::max<u32>(p.nodes, p.node_of.back() + 1u);
  }
  // An even share, and a quarter: nobody knows what else their hosts have to do.
  const u32 share = taking == 0 ? 0 : (vcpus + taking - 1) / taking;
  for (u32 n = 0; n < layout::kMaxNodes; ++n)
    p.slots[n] = machine_.takes_vcpus(n) ? share + (share + 3) / 4 : 0;
  if (record_.steps.load() == 0 || now_ns < next_arrival_ns_) return p;
  for (u32 n = 0; n < layout::kMaxNodes; ++n) {
    if (p.slots[n] != 0 && is_newcomer(n)) p.arrived |= static_cast<u16>(1u << n);
  }
  return p;
}

u32 LocalityDecider::generation(u32 node) const {
  return machine_.instances().slots[vmm::kFirstNodeInstance + node].generation.load();
}

bool LocalityDecider::is_newcomer(u32 node) const {
  return record_.nodes[node].settled.load() != generation(node);
}

// At the first step of all, all that are there.
void LocalityDecider::settle_nodes(const locality::Placement& p) {
  const bool first = record_.steps.load() == 0;
  for (u32 n = 0; n < layout::kMaxNodes; ++n) {
    if (p.slots[n] != 0 && (first || p.has_come(n))) record_.nodes[n].settled.store(generation(n));
  }
}

void LocalityDecider::leave_for_later(u32 unfilled, u64 now_ns) {
  if (unfilled == 0) return;
  next_arrival_ns_ = now_ns + kNextArrivalNs;
  for (u32 n = 0; n < layout::kMaxNodes; ++n) {
    if ((unfilled >> n & 1) != 0) record_.nodes[n].settled.store(0);
  }
}

bool LocalityDecider::carry_out(const Decision& d, u64 now_ns) {
  Pending pending{d, 0, now_ns, {}};
  if (d.act == Act::move_vcpu) pending.legs = {{d.vcpu, d.to}};
  if (d.act == Act::swap_vcpus) pending.legs = {{d.vcpu, d.to}, {d.other, d.from}};
  bool asked = !pending.legs.empty();
  for (const Leg& leg : pending.legs) {
    const auto begun = asked ? ask_move(machine_, leg.vcpu, leg.to) : Result<bool>(false);
    asked = asked && begun.ok();
  }
  pending.number = record_.decisions.append(d, asked ? Outcome::asked : Outcome::refused);
  if (asked) {
    pending_.push_back(std::move(pending));
  } else {
    policy_->refused(d);
  }
  return asked;
}

std::optional<Outcome> LocalityDecider::outcome(const Pending& pending) const {
  for (const Leg& leg : pending.legs) {
    const vmm::VcpuPlace at = machine_.state().vcpus[leg.vcpu].where();
    if (at.stage != PlaceStage::settled) return std::nullopt;
    if (at.node != leg.to) return Outcome::refused;
  }
  return Outcome::done;
}

void LocalityDecider::settle_moves(u64 now_ns) {
  std::erase_if(pending_, [&](const Pending& pending) {
    const auto came_to = outcome(pending);
    if (!came_to) {
      if (now_ns < pending.asked_ns + kPatienceNs) return false;
      for (const Leg& leg : pending.legs) {
        vmm::take_step(
            machine_.state().vcpus[leg.vcpu].place,
            {.kind = vmm::PlaceStep::Kind::call_off, .refusal = vmm::MoveRefusal::timed_out});
      }
      return false;
    }
    u64 pause_ns = 0;
    for (const Leg& leg : pending.legs) {
      const vmm::VcpuMove& move = machine_.state().vcpus[leg.vcpu].move;
      const u64 begun = move.begun.load(), entered = move.entered.load();
      const u64 took = entered > begun ? entered - begun : 0;
      pause_ns += took;
      if (*came_to == Outcome::done && took != 0)
        locality::learn_cost(costs_.vcpu_move_ns, took * kMoveOverPause);
    }
    record_.decisions.settle(pending.number, *came_to, pause_ns / 1000);
    if (*came_to == Outcome::refused) {
      policy_->refused(pending.decision);
      leave_for_later(fills(pending.decision), now_ns);
    }
    return true;
  });
}

void LocalityDecider::pass_on_wishes() {
  std::vector<locality::SampleWish> wishes;
  policy_->wish_samples(wishes);
  for (const auto& wish : wishes) {
    if (wish.node < locality::kMaxNodes) record_.nodes[wish.node].wishes.put(wish.page);
  }
}

}  // namespace dvm::migration
