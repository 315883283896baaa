// Moving vCPUs between nodes: who may ask for what, and how it ended. The move itself is the two
// nodes' (vmm/vcpu_place.h).
#pragma once

#include "vmm/machine.h"

namespace dvm::migration {

// Longer than any move on a host that is not hopelessly busy.
inline constexpr u64 kMoveLimitNs = 30'000'000'000;

struct MoveReport {
  u32 vcpu = 0;
  u32 from = 0;
  u32 to = 0;
  bool moved = false;  // false: it was there already
  u64 pause_ns = 0;    // as the guest felt it
};

// Asks for the move and returns at once. False: it is there already. Errors: no such vCPU or node,
// the node takes none, the guest is not there to be moved, the vCPU is on its way elsewhere.
Result<bool> ask_move(vmm::Machine& machine, u32 vcpu, u32 to);
// Waits for the end of a move that was asked for; after `limit_ns` of waiting it is called off. An
// error says why the vCPU is not there.
Result<MoveReport> await_move(vmm::Machine& machine, u32 vcpu, u32 to, u64 limit_ns = kMoveLimitNs);
// Both.
Result<MoveReport> move_vcpu(vmm::Machine& machine, u32 vcpu, u32 to);

// "0, 1, 3": the nodes that take vCPUs.
std::string taking_nodes(const vmm::Machine& machine);

}  // namespace dvm::migration
