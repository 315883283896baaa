#include "tools/bench/boot_options.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "tools/command_words.h"
#include "tools/run_settings.h"
#include "tools/size_text.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

constexpr u32 kMaxRuns = 1000, kMaxLimitSeconds = 3600;

const OptionNames kNames = {
    .with_value = {"--peer", "--runs", "--cpus", "--memory", "--kernel", "--initrd", "--append",
                   "--nodes", "--limit", "--plot"},
    .flags = {"--json", "--reasons", "--help"},
};

// Reads the option, if it was given, over what is there.
template <typename T, typename Read>
Status take(const CommandWords& words, const std::string& option, T& to, Read&& read) {
  const auto text = words.value(option);
  if (!text) return {};
  auto value = read(*text);
  if (!value.ok()) return usage_error("{}: {}", option, value.error().message);
  to = value.take();
  return {};
}

Result<u64> parse_memory(const std::string& text) {
  DVM_ASSIGN(const u64 bytes, parse_size(text));
  return check_memory(bytes);
}

Result<bool> parse_peer(const std::string& text) {
  if (text == "qemu") return true;
  return usage_error("found '{}'; allowed: qemu", text);
}

// "1,2,4", each once.
Result<std::vector<u32>> parse_nodes(const std::string& text) {
  std::vector<u32> nodes;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    DVM_ASSIGN(const u32 count, parse_count(text.substr(at, comma - at), vmm::layout::kMaxNodes));
    if (std::find(nodes.begin(), nodes.end(), count) != nodes.end()) {
      return usage_error("found {} twice; allowed: each number once", count);
    }
    nodes.push_back(count);
    at = comma + 1;
  }
  return nodes;
}

std::string cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const auto cache = variable("DVM_CACHE"); !cache.empty()) return cache;
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache + "/dvm";
  return variable("HOME") + "/.cache/dvm";
}

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
  DVM_TRY(take(found, "--peer", o.peer_qemu, parse_peer));
  DVM_TRY(take(found, "--runs", o.runs, [](auto& t) { return parse_count(t, kMaxRuns); }));
  DVM_TRY(take(found, "--cpus", o.cpus,
               [](auto& t) { return parse_count(t, vmm::layout::kMaxVcpus); }));
  DVM_TRY(take(found, "--memory", o.memory, parse_memory));
  DVM_TRY(take(found, "--nodes", o.nodes, parse_nodes));
  DVM_TRY(
      take(found, "--limit", o.limit_s, [](auto& t) { return parse_count(t, kMaxLimitSeconds); }));
  DVM_TRY(take(found, "--kernel", o.kernel, check_path));
  DVM_TRY(take(found, "--initrd", o.initrd, check_path));
  DVM_TRY(take(found, "--append", o.append, check_text));
  DVM_TRY(take(found, "--plot", o.plot, check_path));
  return o;
}

Status find_guest_files(BootOptions& options) {
  const std::string cache = cache_folder();
  if (options.kernel.empty()) options.kernel = cache + "/kernels/cloud/vmlinuz";
  if (options.initrd.empty()) options.initrd = cache + "/initramfs-cloud.cpio";
  for (const auto& path : {options.kernel, options.initrd}) {
    if (::access(path.c_str(), R_OK) < 0) {
      return error("no {}: tools/guest-files makes the kernel and the initramfs", path);
    }
  }
  return {};
}

std::string boot_help() {
  return R"(NAME
  dvm-bench boot - time to user space, and exits, side by side

SYNOPSIS
  dvm-bench boot [--peer qemu] [--nodes 1,2] [--runs N] [--cpus M] [--memory SIZE] [--reasons]
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
