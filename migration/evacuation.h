// Emptying a node: its vCPUs go to the others, its pages go home, what it holds of disks and
// networks is closed. It stays a member of the fabric until it is asked to leave.
#pragma once

#include <vector>

#include "migration/vcpu_mover.h"

namespace dvm::migration {

inline constexpr u64 kEvacuationLimitNs = 60'000'000'000;

struct EvacuationReport {
  u32 node = 0;
  std::vector<MoveReport> moves;
};

// Returns when the node is empty; at once if it was already. Errors: no such node, no other node
// that takes vCPUs, or a vCPU that does not leave: then the node is what it was before.
Result<EvacuationReport> evacuate(vmm::Machine& machine, u32 node);
// An empty node's process ends by this. What is left of it is the launcher's to see to.
Status ask_to_leave(vmm::Machine& machine, u32 node);

}  // namespace dvm::migration
