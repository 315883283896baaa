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

std::optional<double> paired_ratio(const Series& of, const Series& over) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(of.size(), over.size()); ++i) {
    if (of[i] && over[i] && *over[i] > 0) ratios.push_back(*of[i] / *over[i]);
  }
  if (ratios.empty()) return std::nullopt;
  return percentile(std::move(ratios), 50);
}

}  // namespace dvm::tools
