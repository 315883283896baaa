// Whether a node of the machine is about to fail, from its readings in the pool.
#pragma once

#include <array>
#include <optional>

#include "hyperkernel/locality/health_trend.h"
#include "vmm/machine.h"

namespace dvm::migration {

struct FailingNode {
  u32 node = 0;
  locality::HealthVerdict verdict;
};

// Threads: one at a time.
class HealthWatch {
 public:
  explicit HealthWatch(vmm::Machine& machine) : machine_(machine) {}
  // Takes in what is new. The node that has to be left most urgently; not one that it named less
  // than kAgainNs ago.
  std::optional<FailingNode> look(u64 now_ns);

  static constexpr u64 kAgainNs = 60'000'000'000;

 private:
  vmm::Machine& machine_;
  struct Watched {
    locality::HealthTrend trend;
    u64 named_ns = 0;
    u32 generation = 0;  // of the process: another one is another host, for all we know
  };
  std::array<Watched, vmm::layout::kMaxNodes> nodes_;
};

// As a decision, for the log.
locality::Decision to_leave(const FailingNode& failing, u64 now_ns);

}  // namespace dvm::migration
