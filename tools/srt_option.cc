#include "tools/srt_option.h"

#include "srt/replica_table.h"
#include "tools/size_text.h"

namespace dvm::tools {

Result<bool> parse_on_off(std::string_view text) {
  if (text == "on") return true;
  if (text == "off") return false;
  return usage_error("found '{}'; allowed: on or off", text);
}

Result<u64> check_srt_memory(u64 bytes) {
  if (bytes == 0 || !is_aligned(bytes, kPageBytes))
    return usage_error("found {}; allowed: a multiple of 4 KiB", format_size(bytes));
  return bytes;
}

Result<std::optional<u64>> settle_srt(std::optional<bool> on, std::optional<u64> memory, u64 ram,
                                      bool has_disks) {
  if (!on.value_or(true)) {
    if (memory) return usage_error("found --srt-memory with --srt off; allowed: with --srt on");
    return std::optional<u64>();
  }
  const u64 bytes = memory.value_or(srt::default_replica_budget(ram));
  if (const u64 least = srt::least_replica_budget(ram); bytes < least) {
    return usage_error("--srt-memory: found {}; allowed with {} of RAM: {} or more",
                       format_size(bytes), format_size(ram), format_size(least));
  }
  return has_disks ? std::optional<u64>(bytes) : std::nullopt;
}

Status check_srt_warm(std::optional<bool> on, bool has_disks) {
  if (!on.value_or(true))
    return usage_error("found --srt-warm with --srt off; allowed: with --srt on");
  if (!has_disks) return usage_error("found --srt-warm without disks; allowed: with --disk");
  return {};
}

}  // namespace dvm::tools
