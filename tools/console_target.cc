#include "tools/console_target.h"

namespace dvm::tools {

Result<ConsoleTarget> parse_console_target(std::string_view text) {
  constexpr std::string_view kVirtio = "virtio";
  if (text == "off") return ConsoleTarget{};
  if (text == kVirtio) return ConsoleTarget{.present = true};
  if (text.starts_with("virtio:")) {
    auto where = parse_serial_target(text.substr(kVirtio.size() + 1));
    if (where.ok()) return ConsoleTarget{true, where.take()};
    if (text.starts_with("virtio:unix:") || text.find('\0') != text.npos) return where.error();
  }
  return usage_error(
      "found '{}'; allowed: off, virtio, virtio:stdio, virtio:file:PATH or "
      "virtio:unix:PATH",
      text);
}

}  // namespace dvm::tools
