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

// `text` with tsc_early_khz added, unless the user gave one. Linux learns the TSC's frequency of a
// virtual AMD CPU only from timers that take it an exit for each look; the machine knows it.
std::string with_tsc_frequency(const std::string& text, u64 tsc_khz);

}  // namespace dvm::vmm
