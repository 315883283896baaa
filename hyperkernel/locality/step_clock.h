// When a policy is asked: ten times a second, or sooner when faults have cost as much as a few vCPU
// moves would, but never more often than a hundred times a second.
#pragma once

#include "hyperkernel/locality/cost_model.h"

namespace dvm::locality {

class StepClock {
 public:
  static constexpr u64 kMostNs = 100'000'000, kLeastNs = 10'000'000;
  static constexpr double kMovesWorth = 2;

  // `fault_cost_ns`: of the faults since this was last asked.
  bool due(u64 now_ns, double fault_cost_ns, const CostModel& costs) {
    spent_ns_ += fault_cost_ns;
    const u64 since = now_ns < last_ns_ ? 0 : now_ns - last_ns_;
    const bool dear = spent_ns_ >= kMovesWorth * costs.vcpu_move_ns;
    if (since < (dear ? kLeastNs : kMostNs)) return false;
    last_ns_ = now_ns;
    spent_ns_ = 0;
    return true;
  }
  u64 next_ns() const { return last_ns_ + kMostNs; }

 private:
  u64 last_ns_ = 0;
  double spent_ns_ = 0;
};

}  // namespace dvm::locality
