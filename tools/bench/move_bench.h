// A vCPU of a running guest is moved to and fro, and each pause taken apart.
#pragma once

#include <array>

#include "tools/bench/bench_stats.h"
#include "tools/bench/migrate_options.h"

namespace dvm::tools {

// The parts of a pause, by the instants of vmm::VcpuMove.
constexpr std::array<const char*, 7> kMoveParts = {"complete-exit", "save", "seal", "wake-up",
                                                   "copy-check",    "load", "enter"};

// One value for each move.
struct MoveSamples {
  Series pause_us;
  std::array<Series, kMoveParts.size()> parts_us;
  Series bare_get_us, bare_set_us;
};

// Boots the guest, moves its vCPU, ends it.
Result<MoveSamples> measure_moves(const MigrateOptions& options, const std::string& dvm_run);

}  // namespace dvm::tools
