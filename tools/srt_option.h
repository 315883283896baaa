// dvm-run's --srt, --srt-memory and --srt-warm.
#pragma once

#include <optional>
#include <string_view>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

Result<bool> parse_on_off(std::string_view text);
// Whole pages.
Result<u64> check_srt_memory(u64 bytes);
// What the storage replica table may take beside `ram` bytes of RAM; nothing: there is none, as it
// is off, or nothing to have replicas of.
Result<std::optional<u64>> settle_srt(std::optional<bool> on, std::optional<u64> memory, u64 ram,
                                      bool has_disks);
// --srt-warm has something to be about.
Status check_srt_warm(std::optional<bool> on, bool has_disks);

}  // namespace dvm::tools
