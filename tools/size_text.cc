#include "tools/size_text.h"

#include <array>
#include <charconv>
#include <limits>

namespace dvm::tools {
namespace {

constexpr std::string_view kAllowed = "a whole number of bytes, or of K, M, G or T (512M, 2G)";

int unit_shift(char unit) {
  switch (unit) {
    case 'k':
    case 'K': return 10;
    case 'm':
    case 'M': return 20;
    case 'g':
    case 'G': return 30;
    case 't':
    case 'T': return 40;
    default: return -1;
  }
}

}  // namespace

Result<u64> parse_size(std::string_view text) {
  const auto refuse = [&] { return usage_error("found '{}'; allowed: {}", text, kAllowed); };
  u64 number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  if (failure == std::errc::result_out_of_range) {
    return usage_error("found '{}'; allowed: a size below 2^64 bytes", text);
  }
  if (failure != std::errc{}) return refuse();
  if (rest == end) return number;
  const int shift = unit_shift(*rest);
  if (shift < 0 || rest + 1 != end) return refuse();
  if (number > (std::numeric_limits<u64>::max() >> shift)) {
    return usage_error("found '{}'; allowed: a size below 2^64 bytes", text);
  }
  return number << shift;
}

std::string format_size(u64 bytes) {
  static constexpr std::array<std::string_view, 5> kUnits = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

std::string amount(u64 bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace dvm::tools
