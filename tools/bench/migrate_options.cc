#include "tools/bench/migrate_options.h"

#include "tools/bench/bench_words.h"
#include "tools/run_settings.h"

namespace dvm::tools {
namespace {

constexpr u32 kMaxMoves = 100'000, kMaxRuns = 1000, kMaxLimitSeconds = 3600;

const OptionNames kNames = {
    .with_value = {"--peer", "--moves", "--runs", "--memory", "--kernel", "--initrd", "--limit"},
    .flags = {"--json", "--machinery", "--help"},
};

}  // namespace

Result<MigrateOptions> parse_migrate_options(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found, split_command_line(words, kNames));
  MigrateOptions o;
  o.help = found.has("--help");
  o.json = found.has("--json");
  o.machinery = found.has("--machinery");
  if (o.help) return o;
  if (!found.rest.empty()) {
    return usage_error("migrate: found '{}', which belongs to no option (--help lists them)",
                       found.rest.front());
  }
  DVM_TRY(take_option(found, "--peer", o.peer_qemu, parse_peer));
  DVM_TRY(
      take_option(found, "--moves", o.moves, [](auto& t) { return parse_count(t, kMaxMoves); }));
  DVM_TRY(take_option(found, "--runs", o.runs, [](auto& t) { return parse_count(t, kMaxRuns); }));
  DVM_TRY(take_option(found, "--memory", o.memory, parse_memory));
  DVM_TRY(take_option(found, "--limit", o.limit_s,
                      [](auto& t) { return parse_count(t, kMaxLimitSeconds); }));
  DVM_TRY(take_option(found, "--kernel", o.kernel, check_path));
  DVM_TRY(take_option(found, "--initrd", o.initrd, check_path));
  if (o.machinery && o.peer_qemu)
    return usage_error("--machinery: runs no guest; allowed: without --peer");
  return o;
}

std::string migrate_help() {
  return R"(NAME
  dvm-bench migrate - how long a vCPU stands still when it changes its node

SYNOPSIS
  dvm-bench migrate [--peer qemu] [--moves N] [--runs N] [--memory SIZE] [--kernel FILE]
                    [--initrd FILE] [--limit S] [--json]
  dvm-bench migrate --machinery [--moves N] [--json]

DESCRIPTION
  Starts a guest whose vCPU computes without end, over two nodes, moves the vCPU to and fro, and takes
  the pause as the guest feels it: from the moment its thread is out of the guest to the moment the
  other node's thread is about to enter. Each pause is set beside the plain KVM ioctls that write and
  read the same state, on another KVM vCPU, right after it. Where there is no KVM:
  tools/lab run --timeout 900 -- build/bin/dvm-bench migrate ...
  With --machinery, no guest and no KVM: what of the pause is not ioctls, between two processes, on two
  processors and on one.

OPTIONS
  --machinery      As above.
  --peer qemu      Compare with a live migration between two QEMUs of the same guest, by the downtime
                   that QEMU tells. Default: no peer.
  --moves N        Moves that count. Default: 100.
  --runs N         Live migrations of QEMU. Default: 5.
  --memory SIZE    RAM, of each machine. Default: 128M.
  --kernel FILE    Default: the cloud kernel that tools/guest-files fetched.
  --initrd FILE    Default: the initramfs that tools/guest-files made.
  --limit S        Seconds after which a run is ended, and counted as failed. Default: 300.
  --json           Print JSON.

EXIT CODES
  0 measured (whether the goals hold or not), 1 nothing could be measured, 64 bad command line
)";
}

}  // namespace dvm::tools
