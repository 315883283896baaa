// Which node each vCPU starts on.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

// "0,0,1,1": the node of vCPU 0, of vCPU 1, and so on. Ranges are checked by check_placement.
Result<std::vector<u16>> parse_placement(std::string_view text);
// Contiguous blocks, as even as can be; nodes beyond the number of vCPUs get none.
std::vector<u16> balanced_placement(u32 vcpus, u32 nodes);
// Names every vCPU, and only nodes there are.
Status check_placement(std::span<const u16> placement, u32 vcpus, u32 nodes);
std::string format_placement(std::span<const u16> placement);

}  // namespace dvm::tools
