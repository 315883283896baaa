#include "tools/message.h"

#include <unistd.h>

#include <algorithm>

namespace dvm::tools {

std::string one_line(std::string_view text) {
  std::string line(text);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

void say_line(std::string_view program, std::string_view text) {
  const std::string line = fmt::format("{}: {}\n", program, one_line(text));
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

void say_lines(std::string_view program, std::string_view text) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    say_line(program, text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace dvm::tools
