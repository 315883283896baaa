// The kernel command line, NUL-terminated at layout::kCommandLine.
#pragma once

#include <string>

#include "fabric/result.h"
#include "fabric/types.h"
#include "hyperkernel/guest_memory.h"

namespace dvm::vmm {

// `max` is what the kernel takes, without the NUL.
Status check_command_line(const std::string& text, u64 max);
Status write_command_line(const std::string& text, const hyperkernel::GuestMemory& memory);

}  // namespace dvm::vmm
