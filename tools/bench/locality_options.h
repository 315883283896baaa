// The command line of `dvm-bench locality`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/locality_simulator.h"

namespace dvm::tools {

struct LocalityOptions {
  bool help = false, as_json = false;
  u32 nodes = 4, vcpus = 16, rounds = 3, length_percent = 100;
  std::string costs = "pod";
  u64 region_pages = 16'384;
  std::optional<std::string> workload, trace, plot;
};

inline constexpr u32 kMaxRounds = 100;
Result<LocalityOptions> parse_locality(const std::vector<std::string>& words);
std::string locality_help();

}  // namespace dvm::tools
