#include "tools/gdb_packet.h"

#include <fmt/format.h>

#include <charconv>
#include <numeric>

namespace dvm::tools {
namespace {

constexpr char kInterrupt = 3, kEscape = '}', kEscaped = 0x20;

u8 checksum(std::string_view text) {
  return std::accumulate(text.begin(), text.end(), u8{0},
                         [](u8 sum, char c) { return static_cast<u8>(sum + static_cast<u8>(c)); });
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == kEscape && i + 1 < text.size();
    plain.push_back(escaped ? static_cast<char>(text[++i] ^ kEscaped) : text[i]);
  }
  return plain;
}

}  // namespace

std::optional<GdbPackets::Item> GdbPackets::next() {
  while (!waiting_.empty()) {
    const char first = waiting_.front();
    if (first == '$') break;
    waiting_.erase(0, 1);
    if (first == kInterrupt) return Item{Kind::interrupt, {}};
    if (first == '+') return Item{Kind::acknowledged, {}};
    if (first == '-') return Item{Kind::refused, {}};
  }
  const std::size_t end = waiting_.find('#');
  if (end == std::string::npos && waiting_.size() > kMaxPacket) {
    waiting_.clear();
    return Item{Kind::bad, {}};
  }
  if (end == std::string::npos || waiting_.size() < end + 3) return std::nullopt;
  const std::string text = waiting_.substr(1, end - 1);
  const int high = digit(waiting_[end + 1]), low = digit(waiting_[end + 2]);
  waiting_.erase(0, end + 3);
  if (high < 0 || low < 0 || checksum(text) != high * 16 + low || text.size() > kMaxPacket)
    return Item{Kind::bad, {}};
  return Item{Kind::packet, unescape(text)};
}

std::string GdbPackets::frame(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '$' || c == '#' || c == kEscape || c == '*') {
      escaped.push_back(kEscape);
      escaped.push_back(static_cast<char>(c ^ kEscaped));
    } else {
      escaped.push_back(c);
    }
  }
  return fmt::format("${}#{:02x}", escaped, checksum(escaped));
}

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<u8>(c));
  return hex;
}

std::optional<std::string> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

std::optional<u64> take_number(std::string_view& text) {
  u64 value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (failure != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace dvm::tools
