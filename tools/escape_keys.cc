#include "tools/escape_keys.h"

namespace dvm::tools {

KeyCommand EscapeKeys::filter(std::string_view typed, std::string& to) {
  KeyCommand command = KeyCommand::none;
  for (const char c : typed) {
    if (!escaped_) {
      escaped_ = c == kEscape;
      if (!escaped_) to.push_back(c);
      continue;
    }
    escaped_ = false;
    switch (c) {
      case 'x':
      case 'X': return KeyCommand::quit;
      case 'h':
      case 'H':
      case '?': command = KeyCommand::help; break;
      case 'w':
      case 'W': command = KeyCommand::size; break;
      case 'a':
      case 'A':
      case kEscape: to.push_back(kEscape); break;
      default: break;  // as in QEMU: an unknown one is dropped
    }
  }
  return command;
}

}  // namespace dvm::tools
