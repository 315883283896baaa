#include "tools/bench/recovery_report.h"

#include "tools/bench/bar_chart.h"

namespace dvm::tools {
namespace {

// In the lab, where an exit costs a hundred times what it does elsewhere.
constexpr double kPowerFailLimitUs = 100'000;
constexpr double kHostLimitUs = 250'000;  // an epoch, and 150 ms

std::optional<double> limit_us(DeathKind kind) {
  if (kind == DeathKind::power_fail) return kPowerFailLimitUs;
  if (kind == DeathKind::host) return kHostLimitUs;
  return std::nullopt;
}

BenchResult figure(const std::string& name, const char* unit, const Series& series) {
  BenchResult r;
  r.name = "recovery." + name;
  r.unit = unit;
  r.summary = summarize(present(series));
  return r;
}

BenchResult beside_none(const std::string& name, const ProtectionLevel& level, const char* unit,
                        const Series& series, const Series& none, double goal) {
  BenchResult r = figure(fmt::format("{}.{}", name, level.name), unit, series);
  const auto without = summarize(present(none));
  if (&series == &none || !without) return r;
  r.peer = kLevels.front().name;
  r.peer_median = without->median;
  r.ratio = paired_ratio(series, none);
  if (goal > 0) r.goal = goal;
  return r;
}

}  // namespace

std::vector<BenchResult> death_results(const ProtectionLevel& level, const DeathFigures& figures) {
  std::vector<BenchResult> results;
  for (const DeathKind death : level.survives) {
    const u32 kind = static_cast<u32>(death);
    const std::string name = fmt::format("{}.{}", level.name, kDeathNames[kind]);
    BenchResult pause = figure(name + ".pause", "us", figures[kind].pause_us);
    if (const auto limit = limit_us(death)) {
      pause.peer = "limit";
      pause.peer_median = *limit;
      pause.goal = 1;
      if (pause.summary) pause.ratio = pause.summary->median / *limit;
    }
    results.push_back(std::move(pause));
    for (std::size_t i = 0; i < kDeathParts.size(); ++i)
      results.push_back(
          figure(fmt::format("{}.part.{}", name, kDeathParts[i]), "us", figures[kind].parts_us[i]));
  }
  return results;
}

std::vector<BenchResult> steady_results(const std::array<SteadySamples, kLevels.size()>& samples) {
  std::vector<BenchResult> results;
  const SteadySamples& none = samples.front();
  for (std::size_t l = 0; l < kLevels.size(); ++l) {
    const ProtectionLevel& level = kLevels[l];
    results.push_back(beside_none("boot", level, "s", samples[l].boot_s, none.boot_s, level.boot));
    const std::array<double, kSteadyWorks.size()> goals = {level.compute, level.rewrite,
                                                           level.wake};
    for (std::size_t i = 0; i < kSteadyWorks.size(); ++i)
      results.push_back(beside_none(fmt::format("work.{}", kSteadyWorks[i]), level, "us",
                                    samples[l].us_a_unit[i], none.us_a_unit[i], goals[i]));
  }
  return results;
}

std::string recovery_chart(const std::vector<BenchResult>& results, const std::string& machine) {
  std::vector<Bar> bars;
  for (const BenchResult& r : results) {
    if (r.unit == "us" && r.name.find(".work.") == std::string::npos) {
      auto summary = r.summary;
      if (summary)
        *summary = {summary->median / 1000, summary->p5 / 1000, summary->p95 / 1000, summary->n};
      bars.push_back({r.name, summary});
    }
  }
  return bar_chart({.title = "From a node's end to its vCPU's next instruction: ms",
                    .note = "median and p5 to p95; " + machine,
                    .unit = "ms",
                    .bars = std::move(bars)});
}

}  // namespace dvm::tools
