#include "tools/serial_target.h"

#include "tools/socket_path.h"

namespace dvm::tools {

Result<SerialTarget> parse_serial_target(std::string_view text) {
  if (text.find('\0') != text.npos)
    return usage_error("found a NUL character; allowed: text without");
  if (text == "stdio") return SerialTarget{SerialKind::stdio, {}};
  if (text.starts_with("file:") && text.size() > 5)
    return SerialTarget{SerialKind::file, std::string(text.substr(5))};
  if (text.starts_with("unix:") && text.size() > 5) {
    DVM_ASSIGN(auto path, check_socket_path(std::string(text.substr(5))));
    return SerialTarget{SerialKind::unix_, std::move(path)};
  }
  return usage_error("found '{}'; allowed: stdio, file:PATH or unix:PATH", text);
}

}  // namespace dvm::tools
