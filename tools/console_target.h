// The guest's virtio console: whether it has one, and where it leads: --console.
#pragma once

#include "tools/serial_target.h"

namespace dvm::tools {

struct ConsoleTarget {
  bool present = false;
  SerialTarget where{SerialKind::log, {}};
};

// "off", "virtio" (kept for dvm-ctl console), "virtio:stdio", "virtio:file:PATH" or
// "virtio:unix:PATH".
Result<ConsoleTarget> parse_console_target(std::string_view text);

}  // namespace dvm::tools
