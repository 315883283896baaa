// The command line of dvm-run.
#pragma once

#include <string>
#include <vector>

#include "tools/run_settings.h"

namespace dvm::tools {

// What dvm-run --ghosts keeps waiting, and what each has waiting beside it.
struct GhostRequest {
  static constexpr u32 kMax = 256;
  u32 count = 0;
  u32 nodes = 1;
  bool net = false;  // a dvm-net
};

struct RunCommandLine {
  std::vector<std::string> words;  // as they were given
  RunRequest request;
  std::optional<std::string> config;
  std::optional<std::string> resume;    // the pool or checkpoint to go on from
  std::optional<std::string> overlays;  // RunSettings::overlays
  // An option that may be said of a guest that goes on from a checkpoint only.
  std::optional<std::string> for_checkpoints;
  std::optional<GhostRequest> ghosts;  // instead of a guest
  bool help = false;
  bool version = false;
  bool cpu_help = false;  // --cpu help
};

// `words` without the program's name. An option of a part that is not built is unknown. Never
// throws.
Result<RunCommandLine> parse_run_command_line(const std::vector<std::string>& words);
// The command line and the configuration file it names, as one. (Not for --help, --version and
// --resume.)
Result<RunSettings> settings_from(RunCommandLine line, std::string default_name);
// Those of a guest that was launched with `RunSettings::launch`, where `line` does not say
// otherwise.
Result<RunSettings> settings_from_launch(const std::string& launch, RunCommandLine line,
                                         std::string default_name);
// As settings_from_launch, for a guest that may be one of many: what only one can have (its pool,
// files and sockets that it writes to) is as `line` says alone, and under another name it has
// another MAC address. `forked`: the one that it came from runs on, and has its forwarded ports.
Result<RunSettings> settings_from_checkpoint(const std::string& launch, RunCommandLine line,
                                             std::string default_name, bool forked);

// All options, as "--kernel".
std::vector<std::string> run_option_names();
std::string run_help();
std::string cpu_help();  // the models, one a line

}  // namespace dvm::tools
