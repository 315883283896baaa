#include "tools/bench/guest_script.h"

#include <fmt/format.h>

namespace dvm::tools {

// RFC 4648, section 4.
std::string base64_of(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    unsigned word = 0;
    for (std::size_t i = 0; i < 3; ++i)
      word = word << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i)
      text += at + i <= bytes.size() ? kDigits[word >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::string script_append(std::string_view script) {
  return "console=ttyS0 quiet dvm.script64=" + base64_of(script);
}

std::string busy_append(unsigned processes) {
  return script_append(
      fmt::format("n=1; while [ $n -lt {} ]; do n=$((n + 1)); (while :; do :; done) & done\n"
                  "while :; do :; done\n",
                  processes));
}

}  // namespace dvm::tools
