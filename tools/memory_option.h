// dvm-run's --coherence, --local-memory and --coherent-memory.
#pragma once

#include <optional>
#include <string_view>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

// shared: every node maps the pool's pages. software: pages change hands (docs/coherence.md).
enum class CoherenceMode { shared, software };

// Of software coherence, in bytes.
struct CoherenceSettings {
  u64 local_bytes = 0;  // of each node; 0: as much as there is RAM
  u64 coherent_bytes = 0;
};

// Two nodes' vCPUs and devices work on some pages at once, and a fault may bring 64.
inline constexpr u64 kMinLocalMemory = 16 * kMiB;
inline constexpr u64 kMinCoherentMemory = 2 * kMiB;
// Each page in it is a mapping of its own in every node, and splits one: well under
// vm.max_map_count (65530).
inline constexpr u64 kMaxCoherentMemory = 64 * kMiB;
inline constexpr u64 kDefaultCoherentMemory = 64 * kMiB;

// Errors read "found X; allowed: Y".
Result<CoherenceMode> parse_coherence(std::string_view text);
Result<u64> check_local_memory(u64 bytes);
Result<u64> check_coherent_memory(u64 bytes);

// Nothing: shared. `ram`: in bytes.
Result<std::optional<CoherenceSettings>> settle_coherence(std::optional<CoherenceMode> mode,
                                                          std::optional<u64> local,
                                                          std::optional<u64> coherent, u64 ram);

}  // namespace dvm::tools
