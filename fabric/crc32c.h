// CRC-32C (Castagnoli), the checksum of every header in the pool (RFC 3720 §12.1).
#pragma once

#include <span>

#include "fabric/types.h"

namespace dvm::fabric {

// crc32c("123456789") == 0xe3069283. Pass an earlier result as `seed` to go on.
u32 crc32c(std::span<const std::byte> bytes, u32 seed = 0);

}  // namespace dvm::fabric
