// Where the guest's serial port leads: --serial.
#pragma once

#include <string>
#include <string_view>

#include "fabric/result.h"

namespace dvm::tools {

enum class SerialKind {
  stdio,  // stdin and stdout
  file,   // output only, to `path`, which is truncated
  unix_,  // a listening socket at `path`, one client at a time
  log,    // kept for `dvm-ctl console` only: what --detach means if nothing else is said
};

struct SerialTarget {
  SerialKind kind = SerialKind::stdio;
  std::string path;
};

// "stdio", "file:PATH" or "unix:PATH".
Result<SerialTarget> parse_serial_target(std::string_view text);

}  // namespace dvm::tools
