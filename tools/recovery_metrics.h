// What a guest's protection has done, as metrics.
#pragma once

#include "tools/exposition.h"
#include "vmm/machine.h"

namespace dvm::tools {

// Nodes that ended, and whose vCPUs went on elsewhere.
void recovery_metrics(Exposition& out, const vmm::MachineState& state);
// Nothing of a machine without epochs.
void epoch_metrics(Exposition& out, const vmm::Machine& machine);

}  // namespace dvm::tools
