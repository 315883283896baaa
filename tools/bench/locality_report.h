// What a comparison of policies came to: for people, for programs, and drawn.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/bench/locality_simulator.h"

namespace dvm::tools {

// One workload under every policy; a run for each round.
struct LocalityRow {
  std::string workload;
  std::array<std::vector<bench::SimulatedRun>, locality::kPolicies> runs;

  // Medians of the time that all vCPUs took together.
  double time_s(locality::PolicyKind policy) const;
  // Of learned, over that of the better of the others.
  double ratio() const;
};

// Learned is never to take more than this of the better of the others, and less than both in so
// many of the five workloads.
inline constexpr double kMostRatio = 1.05;
inline constexpr double kLeastWins = 4;

std::vector<BenchResult> locality_results(const std::vector<LocalityRow>& rows);
std::string locality_table(const std::vector<LocalityRow>& rows);
std::string locality_plot(const std::vector<LocalityRow>& rows, const std::string& note);

}  // namespace dvm::tools
