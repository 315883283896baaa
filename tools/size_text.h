// Sizes as people write them.
#pragma once

#include <string>
#include <string_view>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

// A whole number of bytes, or of K, M, G, T (powers of 1024, either case): "536870912", "512M",
// "2G".
Result<u64> parse_size(std::string_view text);
// In the largest unit that divides it: "512 MiB".
std::string format_size(u64 bytes);
// To two figures or so: "3.2 MiB".
std::string amount(u64 bytes);

}  // namespace dvm::tools
