// Cache lines on their way to memory that another host reads (Intel SDM vol. 2, CLWB, CLFLUSHOPT).
#pragma once

#include <span>

#include "fabric/types.h"

namespace dvm::hyperkernel {

// What was written to these bytes is in memory when it returns. Uses the best instruction there is.
void write_back_lines(std::span<const std::byte> bytes);
// Reads that follow come from memory, not from lines cached before. The lines must be clean.
void forget_lines(std::span<const std::byte> bytes);

}  // namespace dvm::hyperkernel
