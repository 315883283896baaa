// What deaths and rounds of work come to. Pure.
#pragma once

#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/bench/death_bench.h"
#include "tools/bench/steady_bench.h"

namespace dvm::tools {

// A way to protect a guest, as dvm-run names it, and what it may cost beside none; 0: not said.
struct ProtectionLevel {
  const char* name;
  std::span<const DeathKind> survives;  // which are measured
  double boot, compute, rewrite, wake;
};
inline constexpr std::array kKeptDeaths = {DeathKind::kill, DeathKind::hang, DeathKind::power_fail};
inline constexpr std::array kRolledBackDeaths = {DeathKind::host};
// The first is what the others are held against.
constexpr std::array<ProtectionLevel, 3> kLevels = {{
    {"none", {}, 0, 0, 0, 0},
    {"flush", kKeptDeaths, 0, 0, 0, 0},
    {"epoch", kRolledBackDeaths, 0, 1.03, 1.15, 0},
}};

std::vector<BenchResult> death_results(const ProtectionLevel& level, const DeathFigures& figures);
// Of all levels; the first is the one without.
std::vector<BenchResult> steady_results(const std::array<SteadySamples, kLevels.size()>& samples);
// A bar for each part of each kind of death.
std::string recovery_chart(const std::vector<BenchResult>& results, const std::string& machine);

}  // namespace dvm::tools
