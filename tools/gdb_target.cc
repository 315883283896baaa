#include "tools/gdb_target.h"

#include <arpa/inet.h>

#include <charconv>

#include "tools/socket_path.h"

namespace dvm::tools {
namespace {

bool is_address(const std::string& host) {
  in6_addr six{};
  in_addr four{};
  return ::inet_pton(AF_INET, host.c_str(), &four) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &six) == 1;
}

std::string_view without_brackets(std::string_view host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

}  // namespace

Result<GdbTarget> parse_gdb_target(std::string_view text) {
  const Error wrong = usage_error(
      "found '{}'; allowed: unix:PATH or tcp:HOST:PORT (an address, and a port of 1 to 65535)",
      text);
  if (text.find('\0') != text.npos)
    return usage_error("found a NUL character; allowed: text without");
  if (text.starts_with("unix:") && text.size() > 5) {
    DVM_ASSIGN(auto path, check_socket_path(std::string(text.substr(5))));
    return GdbTarget{.path = std::move(path)};
  }
  const auto colon = text.rfind(':');
  if (!text.starts_with("tcp:") || colon < 4) return wrong;
  GdbTarget target;
  target.host = without_brackets(text.substr(4, colon - 4));
  if (target.host.empty()) target.host = "127.0.0.1";
  const std::string_view port = text.substr(colon + 1);
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), target.port);
  if (failure != std::errc{} || end != port.data() + port.size() || target.port == 0 ||
      !is_address(target.host))
    return wrong;
  return target;
}

}  // namespace dvm::tools
