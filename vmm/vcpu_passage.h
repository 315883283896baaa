// The middle of a move: a vCPU passes through the pool, from one node's thread to another's
// (vcpu_place.h). Before it the source reads the state from KVM, after it the target loads it.
#pragma once

#include "vmm/machine_state.h"

namespace dvm::vmm {

// One of VcpuMove's.
void note_instant(std::atomic<u64>& instant);

// The source's last step, after seal_vcpu_state: commits, and wakes the target's thread. What the
// place was before; nothing: the move was called off, and the vCPU stays.
std::optional<VcpuPlace> commit_move(VcpuRecord& v, u8 node);
// The target's first: a copy of the state that nobody changes, looked at.
Status copy_vcpu_state(VcpuRecord& v, const VcpuState& pooled, u32 vcpu, u32 injection,
                       VcpuState& copy);

}  // namespace dvm::vmm
