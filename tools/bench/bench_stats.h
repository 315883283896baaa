// What a series of measurements comes to. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace dvm::tools {

struct Summary {
  double median = 0;
  double p5 = 0;
  double p95 = 0;
  std::size_t n = 0;
};

// 0 to 100 percent, between neighbours by linear interpolation. `values` is not empty.
double percentile(std::vector<double> values, double percent);
// None of no values.
std::optional<Summary> summarize(const std::vector<double>& values);

// One series: a value for each round, none where the run of that round failed.
using Series = std::vector<std::optional<double>>;
std::vector<double> present(const Series& series);
// Round by round; none where either has no value, or `over` is 0.
Series ratios(const Series& of, const Series& over);
// The median of the ratios of the rounds in which both have a value: what slows a whole round down
// (a busy machine) leaves it alone. None if there is no such round.
std::optional<double> paired_ratio(const Series& of, const Series& over);
// How far the values spread above their median: the 95th percentile over it; 1 of nothing.
double spread_above(const Series& series);

}  // namespace dvm::tools
