// The usual rule: a vCPU goes where most of the pages that it fetches come from. It knows no costs.
#pragma once

#include <array>
#include <vector>

#include "hyperkernel/locality/policy.h"

namespace dvm::locality {

class AffinityPolicy : public Policy {
 public:
  static constexpr u64 kWindowNs = 200'000'000;
  static constexpr u32 kLeastFaults = 32;

  void observe(const Observation& seen) override;
  void decide(u64 now_ns, const Placement& placement, const CostModel& costs,
              std::vector<Decision>& wanted) override;

 private:
  void fill_arrived(u64 now_ns, Placement& now, std::vector<Decision>& wanted) const;
  std::vector<std::array<u32, kMaxNodes>> fetched_;  // by vCPU, from each node, in this window
  u64 window_began_ns_ = 0;
};

}  // namespace dvm::locality
