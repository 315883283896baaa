#include "tools/bench/boot_options.h"

#include <algorithm>

#include "tools/bench/bench_words.h"
#include "tools/memory_option.h"
#include "tools/run_settings.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

constexpr u32 kMaxRuns = 1000, kMaxLimitSeconds = 3600;

const OptionNames kNames = {
    .with_value = {"--peer", "--runs", "--cpus", "--memory", "--kernel", "--initrd", "--append",
                   "--nodes", "--limit", "--plot", "--coherence", "--coherent-memory"},
    .flags = {"--json", "--reasons", "--help"},
};

}  // namespace

Result<BootOptions> parse_boot_options(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found, split_command_line(words, kNames));
  BootOptions o;
  o.help = found.has("--help");
  o.json = found.has("--json");
  o.reasons = found.has("--reasons");
  if (o.help) return o;
  if (!found.rest.empty()) {
    return usage_error("boot: found '{}', which belongs to no option (--help lists them)",
                       found.rest.front());
  }
  DVM_TRY(take_option(found, "--peer", o.peer_qemu, parse_peer));
  DVM_TRY(take_option(found, "--runs", o.runs, [](auto& t) { return parse_count(t, kMaxRuns); }));
  DVM_TRY(take_option(found, "--cpus", o.cpus,
                      [](auto& t) { return parse_count(t, vmm::layout::kMaxVcpus); }));
  DVM_TRY(take_option(found, "--memory", o.memory, parse_memory));
  DVM_TRY(take_option(found, "--nodes", o.nodes, parse_nodes));
  DVM_TRY(take_option(found, "--limit", o.limit_s,
                      [](auto& t) { return parse_count(t, kMaxLimitSeconds); }));
  DVM_TRY(take_option(found, "--kernel", o.kernel, check_path));
  DVM_TRY(take_option(found, "--initrd", o.initrd, check_path));
  DVM_TRY(take_option(found, "--append", o.append, check_text));
  DVM_TRY(take_option(found, "--plot", o.plot, check_path));
  DVM_TRY(take_option(found, "--coherent-memory", o.coherent_memory, check_text));
  CoherenceMode coherence = CoherenceMode::shared;
  DVM_TRY(take_option(found, "--coherence", coherence, parse_coherence));
  o.software = coherence == CoherenceMode::software;
  if (o.software && std::ranges::all_of(o.nodes, [](u32 n) { return n < 2; }))
    return usage_error("--coherence software: --nodes names no number above 1");
  if (!o.software && !o.coherent_memory.empty())
    return usage_error("--coherent-memory: only with --coherence software");
  return o;
}

Status find_guest_files(BootOptions& options) {
  const std::string cache = cache_folder();
  if (options.kernel.empty()) options.kernel = cache + "/kernels/cloud/vmlinuz";
  if (options.initrd.empty()) options.initrd = cache + "/initramfs-cloud.cpio";
  for (const auto& path : {options.kernel, options.initrd})
    DVM_TRY(check_readable(path, "tools/guest-files makes the kernel and the initramfs"));
  return {};
}

std::string boot_help() {
  return R"(NAME
  dvm-bench boot - time to user space, and exits, side by side

SYNOPSIS
  dvm-bench boot [--peer qemu] [--nodes 1,2] [--runs N] [--cpus M] [--memory SIZE] [--reasons]
                 [--coherence software [--coherent-memory SIZE]]
                 [--kernel FILE] [--initrd FILE] [--append TEXT] [--limit S] [--json] [--plot FILE.svg]

DESCRIPTION
  Boots one kernel and initramfs again and again, in turns, by each of the machines asked for, and
  takes the time from the start of the VMM's process until the line DVM-USERSPACE is on the console,
  the time until the process has ended, and the number of exits until user space. A first round is not
  counted. Where there is no KVM: tools/lab run --timeout 900 -- build/bin/dvm-bench boot ...

OPTIONS
  --peer qemu      Compare with QEMU and KVM, q35 and microvm. Default: no peer.
  --nodes LIST     dvm over these numbers of nodes. Default: 1,2.
  --runs N         Rounds that count. Default: 5.
  --cpus M         vCPUs, of each machine. Default: 2.
  --memory SIZE    RAM, of each machine. Default: 512M.
  --coherence software
                   Each over two nodes or more with software coherence too, beside itself without,
                   and how many pages changed hands. --coherent-memory as in dvm-run.
  --kernel FILE    Default: the cloud kernel that tools/guest-files fetched.
  --initrd FILE    Default: the initramfs that tools/guest-files made.
  --append TEXT    Kernel command line. Default: console=ttyS0 quiet dvm.cmd=true
  --limit S        Seconds after which a run is ended, and counted as failed. Default: 60.
  --reasons        A further round in which exits are counted by reason. Needs root.
  --json           Print JSON.
  --plot FILE.svg  Write a chart: medians, and the range from p5 to p95.

EXIT CODES
  0 measured (whether the goals hold or not), 1 nothing could be measured, 64 bad command line
)";
}

}  // namespace dvm::tools
