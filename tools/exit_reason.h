// Names of KVM's exit reasons (KVM_EXIT_*), as in status, metrics and messages.
#pragma once

#include <string>

#include "fabric/types.h"

namespace dvm::tools {

// "io", "mmio", "hlt"; "exit_63" for one without a name.
std::string exit_reason_name(u64 reason);

}  // namespace dvm::tools
