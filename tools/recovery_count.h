// Counts nodes that ended while the guest went on. Thread: the launcher's main one.
#pragma once

#include "fabric/fabric_state.h"
#include "vmm/machine.h"

namespace dvm::tools {

// Its keeper has given up its vCPUs.
void count_recovery(vmm::Machine& machine, const fabric::FabricState& fabric, u32 node);
// It left in order; counted if that was because its power failed.
void count_power_failure(vmm::Machine& machine, u32 node);

}  // namespace dvm::tools
