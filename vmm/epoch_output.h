// What has left the machine, or may: told by the device's state that counts.
#pragma once

#include "vmm/machine.h"

namespace dvm::vmm {

// All that the guest has asked for so far may leave. Precondition: epochs; its vCPUs stand still,
// and the caller has all cells, or nobody runs. Any number of times.
void release_output(Machine& machine);

}  // namespace dvm::vmm
