// A straight line through measurements, and what it says about where none were made. Pure.
#pragma once

#include <optional>
#include <utility>
#include <vector>

namespace dvm::tools {

struct Projection {
  double value = 0;
  double low = 0, high = 0;  // by two standard errors of the line there; never below 0
};

struct LineFit {
  double at_zero = 0;
  double slope = 0;
  double mean_x = 0, spread_x = 0;  // the sum of the squares of the distances to the mean
  std::optional<double> deviation;  // of a measurement from the line; none of two points
  std::size_t n = 0;

  Projection at(double x) const;
};

// By least squares. None unless there are two different x.
std::optional<LineFit> fit_line(const std::vector<std::pair<double, double>>& points);

}  // namespace dvm::tools
