// The figures of one benchmark, in the form that every `dvm-bench ... --json` prints.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/bench_stats.h"

namespace dvm::tools {

struct BenchResult {
  std::string name;  // "boot.userspace.dvm-1-node"
  std::string unit;
  std::optional<Summary> summary;  // none: no run gave a value
  std::string peer;                // what it is compared with; empty: nothing
  std::optional<double> peer_median;
  std::optional<double> ratio;  // to the peer
  std::optional<double> goal;   // the ratio it must not be above, or below where more is better
  bool more_is_better = false;

  // None without a goal, and without a peer to hold it against.
  std::optional<bool> holds() const;
};

struct BenchReport {
  std::string machine;
  std::string where;  // lab | native
  std::vector<BenchResult> results;
};

// An empty report of this machine.
BenchReport report_here();
nlohmann::json report_json(const BenchReport& report);
// For people: a line for each result that has a value.
std::string report_text(const BenchReport& report);

}  // namespace dvm::tools
