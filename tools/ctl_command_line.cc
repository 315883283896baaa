#include "tools/ctl_command_line.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "tools/command_words.h"
#include "tools/console_feed.h"
#include "tools/run_settings.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

constexpr std::array<std::string_view, 11> kCommands = {"status",  "console", "events",   "pause",
                                                        "resume",  "reset",   "shutdown", "stop",
                                                        "metrics", "check",   "list"};

Status check_command(const CtlCommandLine& line) {
  if (std::find(kCommands.begin(), kCommands.end(), line.command) == kCommands.end()) {
    return usage_error("unknown command '{}'; allowed: {}", line.command,
                       fmt::join(kCommands, ", "));
  }
  if (line.follow && line.command != "events")
    return usage_error("--follow: allowed with events only");
  if (line.history && line.command != "console")
    return usage_error("--history: allowed with console only");
  if (line.json && line.command == "console")
    return usage_error("--json: not allowed with console");
  if (line.name && line.command == "list") return usage_error("--name: not allowed with list");
  return {};
}

}  // namespace

Result<CtlCommandLine> parse_ctl_command_line(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found,
             split_command_line(words, {.with_value = {"--name", "--history"},
                                        .flags = {"--json", "--follow", "--help", "--version"}}));
  CtlCommandLine line;
  line.help = found.has("--help");
  line.version = found.has("--version");
  if (line.help || line.version) return line;
  line.json = found.has("--json");
  line.follow = found.has("--follow");
  if (const auto name = found.value("--name")) {
    const auto checked = check_name(*name);
    if (!checked) return usage_error("--name: {}", checked.error().message);
    line.name = *name;
  }
  if (const auto history = found.value("--history")) {
    const auto bytes = parse_size(*history);
    if (!bytes || *bytes > ConsoleFeed::kBytes) {
      return usage_error("--history: found '{}'; allowed: 0 to {}", *history,
                         format_size(ConsoleFeed::kBytes));
    }
    line.history = *bytes;
  }
  if (found.rest.empty()) return usage_error("no command; allowed: {}", fmt::join(kCommands, ", "));
  line.command = found.rest.front();
  if (found.rest.size() > 1) {
    return usage_error("found '{}' after {}; allowed: one command", found.rest[1], line.command);
  }
  DVM_TRY(check_command(line));
  return line;
}

std::string ctl_help() {
  return R"(NAME
  dvm-ctl - look at and control running guests

SYNOPSIS
  dvm-ctl [--name NAME] [--json] COMMAND

COMMANDS
  list             The guests of this user that are running.
  status           State, nodes, vCPUs with their exits, pool.
  events           What has happened, oldest first: time (seconds since the host's boot), number,
                   event, who reported it, details. With --follow: go on until the guest ends.
  pause            Stop all vCPUs; answers when all of them stand still.
  resume           Go on after a pause.
  reset            Reset the guest, as the button would.
  shutdown         Press the guest's power button; its OS decides what follows.
  stop             End the guest at once, as pulling the plug would. dvm-run exits with code 0.
  metrics          All counters in Prometheus' text format.
  check            Look over the pool's metadata; what is damaged is named with its offset.

OPTIONS
  --name NAME      Which guest. Default: the only one that is running.
  --json           Print the answer as JSON, on one line (events --follow: one object a line).
  --follow         With events only: stay and print events as they occur.
  --version        Print the version.
  --help           Print this.

EXIT CODES
  0   done
  1   no such guest, more than one to choose from, or the guest refused
  64  bad command line

FILES
  Guests are looked for in $DVM_RUNTIME_DIR, or else in $XDG_RUNTIME_DIR/dvm (/run/dvm) and
  /tmp/dvm-UID. The control socket NAME/control.sock speaks JSON, one object a line:
  {"command":"status"} is answered by {"ok":true,...} or {"ok":false,"error":"..."}.

EXAMPLES
  dvm-ctl status
  dvm-ctl --name demo --json status | jq .vcpus
  dvm-ctl --name demo events --follow
)";
}

}  // namespace dvm::tools
