// A connection to a Unix socket.
#pragma once

#include <string>

#include "fabric/fd.h"

namespace dvm::tools {

// One try. Error: the path is longer than a socket's may be, or nobody listens there.
Result<Fd> connect_unix(const std::string& path);

}  // namespace dvm::tools
