#include "tools/bench/reboot_projection.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/bench/reboot_figures.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

using Points = std::vector<std::pair<double, double>>;

bool together(const RebootSeries& one, const RebootSeries& other) {
  return one.rebooter == other.rebooter && std::string_view(one.device.name) == other.device.name;
}

template <typename SeriesOf>
Points points_of(const RebootSeries& first, const std::vector<RebootSeries>& all,
                 SeriesOf&& series_of) {
  Points points;
  for (const auto& series : all) {
    if (!together(first, series)) continue;
    const double gib = static_cast<double>(series.memory) / static_cast<double>(kGiB);
    for (const double seconds : present(series_of(series))) points.emplace_back(gib, seconds);
  }
  return points;
}

void add(const RebootSeries& first, std::string phase, const Points& points,
         std::vector<PhaseProjection>& projections) {
  if (const auto line = fit_line(points))
    projections.push_back({first.rebooter, first.device.name, std::move(phase), *line});
}

}  // namespace

std::vector<PhaseProjection> reboot_projections(const std::vector<RebootSeries>& all) {
  const WhichBoot& again = kBoots[1];
  std::vector<PhaseProjection> projections;
  for (auto it = all.begin(); it != all.end(); ++it) {
    const auto same = [&](const RebootSeries& other) { return together(*it, other); };
    if (std::any_of(all.begin(), it, same)) continue;
    for (std::size_t i = 0; i < kBootPhases; ++i) {
      const auto phase = static_cast<BootPhase>(i);
      add(*it, phase_name(phase),
          points_of(*it, all, [&](auto& s) { return phase_series(s, again, phase, seconds_of); }),
          projections);
    }
    add(*it, "whole",
        points_of(*it, all, [&](auto& s) { return whole_series(s, again, seconds_of); }),
        projections);
  }
  return projections;
}

std::vector<BenchResult> projection_results(const std::vector<PhaseProjection>& all) {
  std::vector<BenchResult> results;
  for (const auto& p : all) {
    const std::string label = fmt::format("{}.{}.{}", p.phase, p.rebooter, p.device);
    BenchResult slope, projected;
    slope.name = "reboot.slope." + label;
    slope.unit = "s/GiB";
    slope.summary = Summary{p.line.slope, p.line.slope, p.line.slope, p.line.n};
    const Projection at = p.line.at(kProjectedGib);
    projected.name = "reboot.projected-1T." + label;
    projected.unit = "s";
    projected.summary = Summary{at.value, at.low, at.high, p.line.n};
    results.push_back(std::move(slope));
    results.push_back(std::move(projected));
  }
  return results;
}

std::string projection_table(const std::vector<PhaseProjection>& all) {
  if (all.empty()) return {};
  TextTable table(
      {"machine", "disk", "phase", "without memory s", "ms/GiB", "1 TiB s", "from", "to", "runs"});
  for (const auto& p : all) {
    const Projection at = p.line.at(kProjectedGib);
    table.add({p.rebooter, p.device, p.phase, fmt::format("{:.2f}", p.line.at_zero),
               fmt::format("{:.1f}", p.line.slope * 1e3), fmt::format("{:.1f}", at.value),
               p.line.deviation ? fmt::format("{:.1f}", at.low) : "-",
               p.line.deviation ? fmt::format("{:.1f}", at.high) : "-", fmt::to_string(p.line.n)});
  }
  return "The reboot by memory. PROJECTED to 1 TiB along a straight line, by two standard errors "
         "of it; not measured:\n" +
         table.text();
}

}  // namespace dvm::tools
