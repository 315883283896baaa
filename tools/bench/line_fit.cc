#include "tools/bench/line_fit.h"

#include <algorithm>
#include <cmath>

namespace dvm::tools {

std::optional<LineFit> fit_line(const std::vector<std::pair<double, double>>& points) {
  if (points.empty()) return std::nullopt;
  LineFit fit;
  fit.n = points.size();
  const double n = static_cast<double>(fit.n);
  double mean_y = 0, product = 0, squares = 0;
  for (const auto& [x, y] : points) {
    fit.mean_x += x / n;
    mean_y += y / n;
  }
  for (const auto& [x, y] : points) {
    fit.spread_x += (x - fit.mean_x) * (x - fit.mean_x);
    product += (x - fit.mean_x) * (y - mean_y);
  }
  if (fit.spread_x <= 0) return std::nullopt;
  fit.slope = product / fit.spread_x;
  fit.at_zero = mean_y - fit.slope * fit.mean_x;
  if (fit.n < 3) return fit;
  for (const auto& [x, y] : points) {
    const double off = y - fit.at_zero - fit.slope * x;
    squares += off * off;
  }
  fit.deviation = std::sqrt(squares / (n - 2));
  return fit;
}

Projection LineFit::at(double x) const {
  const double value = at_zero + slope * x;
  if (!deviation) return {value, value, value};
  const double away = x - mean_x;
  const double error = *deviation * std::sqrt(1 / static_cast<double>(n) + away * away / spread_x);
  return {value, std::max(0.0, value - 2 * error), value + 2 * error};
}

}  // namespace dvm::tools
