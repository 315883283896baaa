#include "tools/message.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

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

Status print_text(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    return sys_error("write stdout");
  return {};
}

}  // namespace dvm::tools
