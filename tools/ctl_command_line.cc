#include "tools/ctl_command_line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "hyperkernel/locality/policy.h"
#include "tools/command_words.h"
#include "tools/console_feed.h"
#include "tools/run_settings.h"
#include "tools/size_text.h"
#include "tools/trace_recording.h"

namespace dvm::tools {
namespace {

constexpr std::array<std::string_view, 25> kCommandNames = {
    "status",      "console", "events",       "pause",       "resume", "reset",    "shutdown",
    "stop",        "metrics", "check",        "dump",        "list",   "evacuate", "add-node",
    "remove-node", "balloon", "migrate-vcpu", "resize-disk", "why",    "trace",    "pages",
    "policy",      "srt",     "checkpoint",   "fork"};
constexpr u32 kMaxClones = 256;

Status check_command(const CtlCommandLine& line) {
  if (std::find(kCommandNames.begin(), kCommandNames.end(), line.command) == kCommandNames.end()) {
    return usage_error("unknown command '{}'; allowed: {}", line.command,
                       fmt::join(kCommandNames, ", "));
  }
  if (line.follow && line.command != "events")
    return usage_error("--follow: allowed with events only");
  if (line.blocks && line.command != "srt") return usage_error("--blocks: allowed with srt only");
  if (line.history && line.command != "console")
    return usage_error("--history: allowed with console only");
  if (line.json && line.command == "console")
    return usage_error("--json: not allowed with console");
  if (line.name && line.command == "list") return usage_error("--name: not allowed with list");
  return {};
}

Status read_file(const CommandWords& found, CtlCommandLine& line) {
  if (const auto format = found.value("--format")) {
    if (line.command != "dump") return usage_error("--format: allowed with dump only");
    if (*format != "elf") return usage_error("--format: found '{}'; allowed: elf", *format);
  }
  line.stop = found.has("--stop");
  line.incremental = found.has("--incremental");
  if ((line.stop || line.incremental) && line.command != "checkpoint")
    return usage_error("{}: allowed with checkpoint only", line.stop ? "--stop" : "--incremental");
  if (!writes_file(line)) return {};
  if (found.rest.size() < 2)
    return usage_error("{}: no file; allowed: {} FILE", line.command, line.command);
  const auto file = check_path(found.rest[1]);
  if (!file) return usage_error("{}: {}", line.command, file.error().message);
  line.file = *file;
  return {};
}

Status read_fork(const CommandWords& found, CtlCommandLine& line) {
  const auto text = found.value("--count");
  if (line.command != "fork")
    return text ? Status(usage_error("--count: allowed with fork only")) : Status();
  if (found.rest.size() < 2) return usage_error("fork: no name; allowed: fork CLONE");
  line.file = found.rest[1];
  if (text) {
    const auto count = parse_count(*text, kMaxClones);
    if (!count) return usage_error("--count: {}", count.error().message);
    line.count = *count;
  }
  const auto checked =
      check_name(line.count ? fmt::format("{}-{}", line.file, *line.count) : line.file);
  if (!checked) return usage_error("fork: {}", checked.error().message);
  return {};
}

Status read_disks(const CommandWords& found, CtlCommandLine& line) {
  const auto folder = found.value("--disks");
  if (!folder) return {};
  if (line.command != "checkpoint" && line.command != "fork")
    return usage_error("--disks: allowed with checkpoint and fork only");
  const auto checked = check_path(*folder);
  if (!checked) return usage_error("--disks: {}", checked.error().message);
  line.disks = *folder;
  return {};
}

Status read_seconds(const CommandWords& found, CtlCommandLine& line) {
  const auto text = found.value("--for");
  if (!text) return {};
  if (line.command != "trace") return usage_error("--for: allowed with trace only");
  const auto seconds = parse_count(*text, kMaxTraceSeconds);
  if (!seconds) return usage_error("--for: {}", seconds.error().message);
  line.seconds = *seconds;
  return {};
}

Status read_resize(const CommandWords& found, CtlCommandLine& line) {
  const bool to_file = found.has("--to-file");
  if (line.command != "resize-disk")
    return to_file ? Status(usage_error("--to-file: allowed with resize-disk only")) : Status();
  if (found.rest.size() < 2)
    return usage_error("resize-disk: no disk; allowed: resize-disk DISK SIZE|--to-file");
  line.disk = found.rest[1];
  if (to_file == (found.rest.size() > 2)) {
    return usage_error("resize-disk: found {}; allowed: resize-disk DISK SIZE|--to-file",
                       to_file ? "both a size and --to-file" : "no size");
  }
  if (to_file) return {};
  const auto bytes = parse_size(found.rest[2]);
  if (!bytes) return usage_error("resize-disk: {}", bytes.error().message);
  line.size = *bytes;
  return {};
}

Status read_balloon(const CommandWords& found, CtlCommandLine& line) {
  if (line.command != "balloon" || found.rest.size() < 2) return {};
  const auto bytes = parse_size(found.rest[1]);
  if (!bytes) return usage_error("balloon: {}", bytes.error().message);
  line.size = *bytes;
  return {};
}

Status read_policy(const CommandWords& found, CtlCommandLine& line) {
  if (line.command != "policy" || found.rest.size() < 2) return {};
  const auto policy = locality::parse_policy(found.rest[1]);
  if (!policy) return usage_error("policy: {}", policy.error().message);
  line.policy = found.rest[1];
  return {};
}

Result<u32> read_number(std::string_view text, std::string_view what) {
  u32 number = 0;
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{} || rest != text.data() + text.size() || number > 0xffff)
    return usage_error("{}: found '{}'; allowed: a number", what, text);
  return number;
}

// migrate-vcpu V --to N, evacuate N, remove-node N.
Status read_nodes(const CommandWords& found, CtlCommandLine& line) {
  const auto to = found.value("--to");
  if (to && line.command != "migrate-vcpu")
    return usage_error("--to: allowed with migrate-vcpu only");
  const bool migrates = line.command == "migrate-vcpu";
  if (!migrates && line.command != "evacuate" && line.command != "remove-node") return {};
  if (found.rest.size() < 2 || (migrates && !to)) {
    return usage_error("{}: allowed: {} {}", line.command, line.command,
                       migrates ? "VCPU --to NODE" : "NODE");
  }
  DVM_ASSIGN(line.number, read_number(found.rest[1], line.command));
  if (to) {
    DVM_ASSIGN(line.to, read_number(*to, "--to"));
  }
  return {};
}

Status read_port(const CommandWords& found, CtlCommandLine& line) {
  line.port = found.value("--port");
  if (!line.port) return {};
  if (line.command != "console") return usage_error("--port: allowed with console only");
  if (*line.port != "serial" && *line.port != "virtio")
    return usage_error("--port: found '{}'; allowed: serial or virtio", *line.port);
  return {};
}

std::size_t words_of(std::string_view command) {
  for (const auto one : {"dump", "checkpoint", "fork", "trace", "policy", "balloon", "migrate-vcpu",
                         "evacuate", "remove-node"}) {
    if (command == one) return 2;
  }
  return command == "resize-disk" ? 3 : 1;
}

}  // namespace

bool writes_file(const CtlCommandLine& line) {
  return line.command == "dump" || line.command == "trace" || line.command == "checkpoint";
}

Result<CtlCommandLine> parse_ctl_command_line(const std::vector<std::string>& all) {
  // What follows "--" is dvm-run's.
  const auto end = std::find(all.begin(), all.end(), "--");
  const std::vector<std::string> words(all.begin(), end);
  DVM_ASSIGN(
      const CommandWords found,
      split_command_line(words, {.with_value = {"--name", "--history", "--format", "--port", "--to",
                                                "--for", "--count", "--disks"},
                                 .flags = {"--json", "--follow", "--blocks", "--to-file", "--stop",
                                           "--incremental", "--help", "--version"}}));
  CtlCommandLine line;
  line.help = found.has("--help");
  line.version = found.has("--version");
  if (line.help || line.version) return line;
  line.json = found.has("--json");
  line.follow = found.has("--follow");
  line.blocks = found.has("--blocks");
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
  if (found.rest.empty())
    return usage_error("no command; allowed: {}", fmt::join(kCommandNames, ", "));
  line.command = found.rest.front();
  const std::size_t words_taken = words_of(line.command);
  if (found.rest.size() > words_taken) {
    return usage_error("found '{}' after {}; allowed: one command", found.rest[words_taken],
                       line.command);
  }
  DVM_TRY(check_command(line));
  if (end != all.end()) {
    if (line.command != "fork") return usage_error("--: allowed with fork only");
    line.run_options.assign(end + 1, all.end());
  }
  DVM_TRY(read_file(found, line));
  DVM_TRY(read_fork(found, line));
  DVM_TRY(read_disks(found, line));
  DVM_TRY(read_seconds(found, line));
  DVM_TRY(read_resize(found, line));
  DVM_TRY(read_balloon(found, line));
  DVM_TRY(read_policy(found, line));
  DVM_TRY(read_port(found, line));
  DVM_TRY(read_nodes(found, line));
  return line;
}

std::string ctl_help() {
  return R"(NAME
  dvm-ctl - look at and control running guests

SYNOPSIS
  dvm-ctl [--name NAME] [--json] COMMAND
  dvm-ctl [--name NAME] console [--history SIZE] [--port serial|virtio]
  dvm-ctl [--name NAME] dump FILE [--format elf]
  dvm-ctl [--name NAME] checkpoint FILE [--incremental] [--stop] [--disks DIR]
  dvm-ctl [--name NAME] fork CLONE [--count K] [--disks DIR] [-- OPTION...]
  dvm-ctl [--name NAME] resize-disk DISK SIZE|--to-file
  dvm-ctl [--name NAME] balloon [SIZE]
  dvm-ctl [--name NAME] migrate-vcpu VCPU --to NODE
  dvm-ctl [--name NAME] evacuate|remove-node NODE
  dvm-ctl [--name NAME] add-node
  dvm-ctl [--name NAME] srt [--blocks]
  dvm-ctl [--name NAME] policy [static|affinity|learned]
  dvm-ctl [--name NAME] trace FILE [--for SECONDS]

COMMANDS
  list             The guests of this user that are running: process of dvm-run, state, nodes,
                   vCPUs, memory, boots, time since dvm-run was started. Cleans up what a dvm-run
                   that was killed has left.
  status           State, nodes, vCPUs with their exits, pool, and for each device its requests,
                   bytes, errors, kicks, interrupts and who has requests in hand.
  pages            Where the guest's pages are: for each node, and the user network's process, how
                   many it owns, how many it has copies of and what its local memory takes; what
                   its pager has done; the coherent region. docs/coherence.md has the terms.
  console          The guest's virtio console on this terminal if it has one, else its serial
                   port, whatever --console and --serial say, after the last 16 KiB of output. The
                   virtio console is told the size of this terminal. Any number of people may look on, and all may type.
                   Ctrl-A x leaves (the guest goes on), Ctrl-A h helps, Ctrl-A w types this
                   window's size as a stty command. One that reads slowly loses the oldest output
                   (256 KiB are kept) and is told; the guest does not wait for it. From a pipe, what
                   is piped in is typed; its end is not the end.
  dump FILE        Write the guest's memory and its vCPUs' registers to FILE, an ELF core as QEMU's
                   dump-guest-memory makes it, for crash and gdb. The guest is paused meanwhile.
                   Pages of zeros become holes. FILE is replaced once the dump is whole; until
                   then it is FILE.part, which is removed when the dump fails.
  checkpoint FILE  Save all of the guest into FILE, from which dvm-run --resume FILE goes on any number
                   of times, on any number of nodes. The guest stands still meanwhile, and then goes
                   on; with --stop it ends. A guest that writes to its disks needs one of --disks and
                   --stop. FILE is replaced once it is whole; until then it is FILE.part.
                   Not with dvm-run --coherence software.
  fork CLONE       Let another guest, CLONE, go on beside this one from where it is; with --count K of
                   them: CLONE-1 to CLONE-K. They share its memory as it is now, and own what they
                   touch from then on. Each has its own console, control socket, MAC address and
                   generation id (vmgenid), runs in the background, and ends on its own; forwarded
                   ports of a user network are not taken over. OPTION: of dvm-run, as with --resume
                   of a checkpoint; {n} in it is the clone's number. The guest stands still for as
                   long as a checkpoint takes. Disks that it writes to are copied once, as with
                   --disks; what a clone writes to them is its own, and gone with it, unless OPTION
                   has --overlays.
  resize-disk DISK SIZE|--to-file
                   Make a disk larger while the guest runs, which sees it at once. DISK is its
                   number in the order of --disk (0 first), its path or its serial. A raw file is
                   grown to SIZE bytes, or K, M, G or T of 1024; --to-file takes the size of a file
                   or block device that was grown already. A disk never shrinks.
  balloon [SIZE]   Ask the guest to give up SIZE of its memory, or to take back what it has given
                   up beyond that: bytes, or K, M, G or T of 1024. 0 empties the balloon. Without
                   SIZE: how much it has given up, and what it tells of its memory. Needs
                   --balloon.
  migrate-vcpu VCPU --to NODE
                   Let that vCPU go on on that node, and tell for how long it stood still. Also one
                   that is halted, waits to be started, or belongs to a guest that is paused.
  evacuate NODE    Empty a node: its vCPUs go to the others, evenly; its pages go home; it closes
                   disks and networks. It stays where it is, and gets nothing new. Refused for the
                   last node that runs vCPUs.
  remove-node NODE
                   evacuate, and then the node leaves and its process ends.
  add-node         Start one more node, under the lowest free number, for vCPUs to be moved to.
  why              The last 128 decisions on where vCPUs run, oldest first, each with what spoke for
                   it and what came of it; who decides, by which policy (dvm-run --policy), and
                   what things cost here.
  srt              What the storage replica table holds: blocks of disks that are in memory, how many
                   reads they have saved, the memory it takes, and why entries went. With --blocks: which
                   blocks the guest has wanted, what it wanted first first, as runs: a file for
                   dvm-run --srt-warm.
  policy [NAME]    Let another policy place the vCPUs from now on: static, affinity or learned, as with
                   dvm-run --policy. Those stay where they are until it moves them. Without NAME:
                   which one does.
  trace FILE       Record which pages came to which node for which vCPU, for 10 seconds or as long
                   as --for says, into FILE, for dvm-bench locality --trace. The guest runs on. At
                   most 4 million faults. FILE is replaced once it is whole; until then it is
                   FILE.part. Needs dvm-run --coherence software.
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
  --blocks         With srt only: the blocks, instead of how many there are.
  --port PORT      With console only: serial or virtio. Default: virtio if there is one.
  --to NODE        With migrate-vcpu only: where to.
  --to-file        With resize-disk only: as large as the file or device is now.
  --history SIZE   With console only: how much earlier output to show first, 0 to 256K. Default:
                   16K.
  --for SECONDS    With trace only: how long, 1 to 3600. Default: 10.
  --format elf     With dump only: the file's format. Default: elf.
  --incremental    With checkpoint only: FILE gets only what has changed since the guest's last
                   checkpoint, or the one that it came from, and stands on that file from then on.
  --disks DIR      With checkpoint and fork only: copy the disks that the guest writes to, while it
                   stands still, to DIR/FILE-disk0.img and so on (fork: DIR/CLONE-disk0.img). Who
                   goes on from there needs them. Blocks are shared where the file system can do
                   that, else only those in use are copied. Default for fork: files without a name
                   beside the disks, gone with the last clone.
  --count K        With fork only: how many, 1 to 256.
  --stop           With checkpoint only: end the guest, as pulling the plug would.
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
  dvm-ctl --name demo console
  dvm-ctl migrate-vcpu 1 --to 0
  dvm-ctl --name demo fork web --count 4 -- --nodes 1 --net user,hostfwd=tcp:127.0.0.1:808{n}-:80
  dvm-ctl --name demo dump demo.core && gdb -ex 'info threads' -c demo.core
)";
}

}  // namespace dvm::tools
