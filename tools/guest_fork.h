// `dvm-ctl fork NAME`: a running guest is saved into memory, and others go on from there.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/ctl_command_line.h"
#include "tools/guest_connection.h"

namespace dvm::tools {

// NAME, or with --count NAME-1, NAME-2 and so on.
std::vector<std::string> clone_names(const CtlCommandLine& line);
// The words after "--", for the n-th clone: {n} in them is its number, from 1.
std::vector<std::string> clone_options(const CtlCommandLine& line, u32 n);

// Saves the guest behind `connection` and starts its clones, each with a dvm-run of its own in the
// background; what they go on from is gone with the last of them. Says how far it is once it takes
// longer than 2 s. {"clones": [{"name": …, "ms": until it ran}, …]}. Error: the first that could
// not be started, why, and how many run.
Result<nlohmann::json> fork_guest(GuestConnection& connection, const std::string& guest,
                                  const CtlCommandLine& line);

}  // namespace dvm::tools
