// Where gdb reaches the guest: --gdb.
#pragma once

#include <string>
#include <string_view>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct GdbTarget {
  std::string path;  // of a Unix socket; empty: TCP
  std::string host;  // an address, not a name
  u16 port = 0;
};

// "unix:PATH" or "tcp:HOST:PORT"; HOST may be empty for 127.0.0.1, and an IPv6 address stands in
// brackets.
Result<GdbTarget> parse_gdb_target(std::string_view text);

}  // namespace dvm::tools
