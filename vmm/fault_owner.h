// Which vCPU waited for a page that came to a node: by the thread that faulted, or, where KVM had a
// worker of the kernel fault in its stead, by which vCPU it can only have been.
#pragma once

#include "vmm/machine_state.h"

namespace dvm::vmm {

// `node` is this process's. locality::kNoVcpu: none (a device's thread waits for it), or it cannot
// be told.
u16 vcpu_that_waits(const MachineState& machine, u32 node, u32 thread);

}  // namespace dvm::vmm
