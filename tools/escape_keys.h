// The keys that are for dvm-run and not for the guest: Ctrl-A and one more.
#pragma once

#include <string>
#include <string_view>

namespace dvm::tools {

enum class KeyCommand { none, quit, help, size };

// Threads: one.
class EscapeKeys {
 public:
  static constexpr char kEscape = 1;  // Ctrl-A

  // Appends to `to` what is for the guest; returns the last command found in `typed`, quit above
  // all.
  KeyCommand filter(std::string_view typed, std::string& to);

 private:
  bool escaped_ = false;  // Ctrl-A was typed, what follows decides
};

inline constexpr std::string_view kKeyHelp =
    "Ctrl-A x  stop the guest at once\n"
    "Ctrl-A h  this help\n"
    "Ctrl-A w  type this window's size, as a stty command for the guest's shell\n"
    "Ctrl-A a  type Ctrl-A itself\n";

}  // namespace dvm::tools
