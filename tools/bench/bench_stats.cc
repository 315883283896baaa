#include "tools/bench/bench_stats.h"

#include <algorithm>
#include <cmath>

namespace dvm::tools {

double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double at = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(at));
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], at - std::floor(at));
}

std::optional<Summary> summarize(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return Summary{percentile(values, 50), percentile(values, 5), percentile(values, 95),
                 values.size()};
}

std::vector<double> present(const Series& series) {
  std::vector<double> values;
  for (const auto& value : series) {
    if (value) values.push_back(*value);
  }
  return values;
}

Series ratios(const Series& of, const Series& over) {
  Series all;
  for (std::size_t i = 0; i < std::min(of.size(), over.size()); ++i) {
    const bool both = of[i] && over[i] && *over[i] > 0;
    all.push_back(both ? std::optional(*of[i] / *over[i]) : std::nullopt);
  }
  return all;
}

std::optional<double> paired_ratio(const Series& of, const Series& over) {
  const auto summary = summarize(present(ratios(of, over)));
  return summary ? std::optional(summary->median) : std::nullopt;
}

double spread_above(const Series& series) {
  const auto summary = summarize(present(series));
  return summary && summary->median > 0 ? summary->p95 / summary->median : 1;
}

}  // namespace dvm::tools
