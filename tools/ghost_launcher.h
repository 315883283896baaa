// A dvm-run that waits to be told which guest to launch, with the programs it will need waiting
// beside it.
#pragma once

#include "tools/guest_run.h"
#include "tools/run_command_line.h"

namespace dvm::tools {

// What follows kGhostWord on its command line.
std::vector<std::string> ghost_words(const GhostRequest& wanted, const HostLook& host);
// Of all that is passed to it, where it tells how its start went (Daemon).
inline constexpr int kGhostStatus = 3;

// In such a process, with those words: starts the programs and waits. Its command line as main()
// has it, or none once nobody is left to tell it.
Result<std::optional<std::vector<std::string>>> wait_as_launcher(
    const std::vector<std::string>& words, Beforehand& beforehand);

}  // namespace dvm::tools
