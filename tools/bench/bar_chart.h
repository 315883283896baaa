// A bar chart as a self-contained SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/bench_stats.h"

namespace dvm::tools {

struct Bar {
  std::string label;
  std::optional<Summary> summary;  // none is drawn as a word
};

struct BarChart {
  std::string title;
  std::string note;
  std::string unit;
  std::vector<Bar> bars;
};

// A bar a line, as long as its median, with a whisker from p5 to p95.
std::string bar_chart(const BarChart& chart);

}  // namespace dvm::tools
