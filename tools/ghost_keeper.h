// `dvm-run --ghosts N`: processes that wait to become a guest, for those who ask for one.
#pragma once

#include <optional>

#include "fabric/ghost.h"
#include "tools/run_command_line.h"

namespace dvm::tools {

// Keeps N of them waiting until SIGINT or SIGTERM; those that wait then end with it, those that
// have become a guest do not. dvm-run's exit code.
Result<int> keep_ghosts(const GhostRequest& wanted);

// One of this user's that waits on this host: a dvm-run (tools/ghost_launcher.h). None: nobody
// keeps any, or all are taken. Threads: any.
std::optional<Ghost> take_ghost();

}  // namespace dvm::tools
