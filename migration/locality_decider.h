// One node's work while it has the role to decide on locality: it learns what all nodes have seen,
// asks the policy, and asks for the moves that this wants. It only ever asks (vcpu_mover.h):
// nothing here waits.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "hyperkernel/locality/step_clock.h"
#include "migration/health_watch.h"
#include "migration/vcpu_mover.h"

namespace dvm::migration {

// Threads: one at a time.
class LocalityDecider {
 public:
  // What was seen before is not looked at.
  explicit LocalityDecider(vmm::Machine& machine);
  // Takes in what was seen since, and once in a while takes a step. Returns when it wants to be
  // called again.
  u64 work(u64 now_ns);

 private:
  struct Leg {
    u32 vcpu;
    u32 to;
  };
  struct Pending {
    locality::Decision decision;
    u64 number = 0;  // in the log
    u64 asked_ns = 0;
    std::vector<Leg> legs;
  };
  void begin_anew();
  void take_in();
  void step(u64 now_ns);
  bool carry_out(const locality::Decision& decision, u64 now_ns);
  void settle_moves(u64 now_ns);
  // Nothing: on its way yet.
  std::optional<locality::Outcome> outcome(const Pending& pending) const;
  locality::Placement placement(u64 now_ns) const;
  bool is_newcomer(u32 node) const;
  u32 generation(u32 node) const;
  void settle_nodes(const locality::Placement& placement);
  void leave_for_later(u32 unfilled, u64 now_ns);
  void pass_on_wishes();

  vmm::Machine& machine_;
  locality::LocalityRecord& record_;
  locality::PolicyKind kind_;
  std::unique_ptr<locality::Policy> policy_;
  std::array<u64, locality::kMaxNodes> places_{};
  locality::CostModel costs_;
  locality::StepClock clock_;
  double fault_cost_ns_ = 0;  // since the clock was last asked
  u32 boot_ = 0;
  u64 next_arrival_ns_ = 0;  // nodes that have come are not looked at before
  std::vector<Pending> pending_;
};

}  // namespace dvm::migration
