// The same numbers for Prometheus.
#pragma once

#include <string>

#include "vmm/machine.h"

namespace dvm::tools {

// Text exposition format 0.0.4.
std::string metrics_text(vmm::Machine& machine);

}  // namespace dvm::tools
