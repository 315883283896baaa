// The frames of gdb's remote serial protocol (gdb manual, appendix E.1): $text#checksum, with + and
// - as acknowledgements, and a bare 0x03 that asks the target to stop. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fabric/types.h"

namespace dvm::tools {

// What stands between bytes and meaning. Threads: one.
class GdbPackets {
 public:
  // The longest packet that is taken; qSupported tells gdb.
  static constexpr std::size_t kMaxPacket = 16 * 1024;

  enum class Kind { packet, interrupt, acknowledged, refused, bad };
  struct Item {
    Kind kind;
    std::string text;  // of a packet, unescaped
  };

  void received(std::string_view bytes) { waiting_ += bytes; }
  // The next item that is whole; none: more bytes are needed. `bad`: a wrong checksum, or a packet
  // that is too long, of which nothing is kept.
  std::optional<Item> next();

  static std::string frame(std::string_view text);

 private:
  std::string waiting_;
};

std::string to_hex(std::string_view bytes);
// None unless it is pairs of hex digits.
std::optional<std::string> from_hex(std::string_view hex);
// A number in hex at the start of `text`, which moves behind it; none if there is no digit, or more
// than 16.
std::optional<u64> take_number(std::string_view& text);

}  // namespace dvm::tools
