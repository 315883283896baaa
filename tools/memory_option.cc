#include "tools/memory_option.h"

#include "tools/size_text.h"

namespace dvm::tools {

Result<CoherenceMode> parse_coherence(std::string_view text) {
  if (text == "shared") return CoherenceMode::shared;
  if (text == "software") return CoherenceMode::software;
  return usage_error("found '{}'; allowed: shared or software", text);
}

Result<u64> check_local_memory(u64 bytes) {
  if (bytes < kMinLocalMemory || !is_aligned(bytes, kPageBytes)) {
    return usage_error("found {}; allowed: {} or more, a multiple of 4 KiB", format_size(bytes),
                       format_size(kMinLocalMemory));
  }
  return bytes;
}

Result<u64> check_coherent_memory(u64 bytes) {
  if (bytes < kMinCoherentMemory || bytes > kMaxCoherentMemory ||
      !is_aligned(bytes, kHugePageBytes)) {
    return usage_error("found {}; allowed: {} to {}, a multiple of 2 MiB", format_size(bytes),
                       format_size(kMinCoherentMemory), format_size(kMaxCoherentMemory));
  }
  return bytes;
}

Result<std::optional<CoherenceSettings>> settle_coherence(std::optional<CoherenceMode> mode,
                                                          std::optional<u64> local,
                                                          std::optional<u64> coherent, u64 ram) {
  std::optional<CoherenceSettings> settings;
  if (mode.value_or(CoherenceMode::shared) == CoherenceMode::shared) {
    if (local || coherent) {
      return usage_error("found {} with --coherence shared; allowed: with --coherence software",
                         local ? "--local-memory" : "--coherent-memory");
    }
    return settings;
  }
  settings.emplace();
  if (local && *local < ram) settings->local_bytes = *local;
  settings->coherent_bytes = coherent.value_or(kDefaultCoherentMemory);
  return settings;
}

}  // namespace dvm::tools
