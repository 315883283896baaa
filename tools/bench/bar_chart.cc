#include "tools/bench/bar_chart.h"

#include <fmt/format.h>

#include <algorithm>

namespace dvm::tools {
namespace {

constexpr int kLeastLabelWidth = 130, kCharacterWidth = 7, kBarWidth = 420, kValueWidth = 90,
              kLine = 34, kTop = 44, kBottom = 30, kThickness = 18;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string text_at(double x, double y, const char* attributes, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes,
                     escaped(text));
}

std::string line(double x1, double y1, double x2, double y2) {
  return fmt::format("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" stroke=\"#333\"/>\n", x1, y1, x2,
                     y2);
}

int label_width(const BarChart& chart) {
  std::size_t longest = 0;
  for (const auto& bar : chart.bars) longest = std::max(longest, bar.label.size());
  return std::max(kLeastLabelWidth, kCharacterWidth * static_cast<int>(longest) + 12);
}

std::string bar_svg(const Bar& bar, double y, int left, double scale, const std::string& unit) {
  const double middle = y + kThickness / 2.0;
  std::string svg = text_at(left - 8, middle + 4, "text-anchor=\"end\"", bar.label);
  if (!bar.summary) return svg + text_at(left + 4, middle + 4, "fill=\"#a00\"", "failed");
  const Summary& s = *bar.summary;
  const auto x = [&](double value) { return left + value * scale; };
  const bool peer = !bar.label.starts_with("dvm");
  svg += fmt::format("<rect x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>\n",
                     left, y, s.median * scale, kThickness, peer ? "#b8b8b8" : "#4a90d9");
  svg += line(x(s.p5), middle, x(s.p95), middle);
  svg += line(x(s.p5), middle - 4, x(s.p5), middle + 4);
  svg += line(x(s.p95), middle - 4, x(s.p95), middle + 4);
  return svg + text_at(x(std::max(s.p95, s.median)) + 6, middle + 4, "",
                       fmt::format("{:.2f} {}", s.median, unit));
}

}  // namespace

std::string bar_chart(const BarChart& chart) {
  double longest = 0;
  for (const auto& bar : chart.bars) {
    if (bar.summary) longest = std::max({longest, bar.summary->p95, bar.summary->median});
  }
  const double scale = longest > 0 ? kBarWidth / longest : 0;
  const int left = label_width(chart);
  const int width = left + kBarWidth + kValueWidth;
  const int height = kTop + kLine * static_cast<int>(chart.bars.size()) + kBottom;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"13\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      width, height);
  svg += text_at(10, 24, "font-size=\"15\" font-weight=\"bold\"", chart.title);
  double y = kTop;
  for (const auto& bar : chart.bars) {
    svg += bar_svg(bar, y, left, scale, chart.unit);
    y += kLine;
  }
  svg += text_at(10, height - 10, "font-size=\"11\" fill=\"#666\"", chart.note);
  return svg + "</svg>\n";
}

}  // namespace dvm::tools
