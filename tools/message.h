// One line to the person at the terminal, on stderr, written whole so that lines of several
// processes do not mix. Never fails: where nobody reads stderr there is nobody to tell.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "fabric/result.h"

namespace dvm::tools {

// Line breaks and control characters of foreign text must not tear or colour our line.
std::string one_line(std::string_view text);
void say_line(std::string_view program, std::string_view text);

// What was asked for, to stdout, and out at once.
Status print_text(const std::string& text);

// Each of the lines of `text`.
void say_lines(std::string_view program, std::string_view text);

// As said by dvm-run.
template <typename... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say_line("dvm-run", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace dvm::tools
