// `dvm-ctl console`: a running guest's console on this terminal.
#pragma once

#include "tools/guest_connection.h"

namespace dvm::tools {

// Asks for the console and stays until the user leaves or the guest ends. On a terminal: raw, with
// keys of its own; what is piped in is typed, and its end is not the end. `port`: "serial" or
// "virtio"; none: as the guest chooses. The virtio console is told the terminal's size.
Status run_console(GuestConnection connection, const RunningGuest& guest, u64 history_bytes,
                   const std::optional<std::string>& port);

}  // namespace dvm::tools
