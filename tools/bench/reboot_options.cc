#include "tools/bench/reboot_options.h"

#include <algorithm>
#include <cstdlib>

#include "tools/bench/bench_words.h"
#include "tools/bench/rebooter.h"
#include "tools/run_settings.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

constexpr u32 kMaxRuns = 1000, kMaxLimitSeconds = 7200;

const OptionNames kNames = {
    .with_value = {"--only", "--runs", "--cpus", "--memory", "--nodes", "--limit", "--plot",
                   "--device", "--image"},
    .flags = {"--json", "--settled", "--help"},
};

Result<std::vector<u64>> parse_memories(const std::string& text) {
  std::vector<u64> all;
  for (const std::string& part : split_list(text)) {
    DVM_ASSIGN(const u64 bytes, parse_memory(part));
    if (std::ranges::find(all, bytes) != all.end())
      return usage_error("found {} twice; allowed: each once", part);
    all.push_back(bytes);
  }
  return all;
}

Result<std::vector<std::string>> parse_rebooters(const std::string& text) {
  std::vector<std::string> names = split_list(text);
  for (const auto& name : names) {
    if (std::ranges::count(names, name) > 1)
      return usage_error("found {} twice; allowed: each once", name);
    if (std::ranges::find(rebooter_names(), name) == rebooter_names().end())
      return usage_error("found '{}'; allowed: {}", name, fmt::join(rebooter_names(), ", "));
  }
  return names;
}

}  // namespace

Result<RebootOptions> parse_reboot_options(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found, split_command_line(words, kNames));
  RebootOptions o;
  o.help = found.has("--help");
  o.json = found.has("--json");
  o.settled = found.has("--settled");
  if (o.help) return o;
  if (!found.rest.empty()) {
    return usage_error("reboot: found '{}', which belongs to no option (--help lists them)",
                       found.rest.front());
  }
  const auto count = [](u32 most) {
    return [most](const std::string& text) { return parse_count(text, most); };
  };
  DVM_TRY(take_option(found, "--only", o.only, parse_rebooters));
  DVM_TRY(take_option(found, "--runs", o.runs, count(kMaxRuns)));
  DVM_TRY(take_option(found, "--cpus", o.cpus, count(vmm::layout::kMaxVcpus)));
  DVM_TRY(take_option(found, "--nodes", o.nodes, count(vmm::layout::kMaxNodes)));
  DVM_TRY(take_option(found, "--memory", o.memory, parse_memories));
  DVM_TRY(take_option(found, "--device", o.devices, parse_device_classes));
  DVM_TRY(take_option(found, "--limit", o.limit_s, count(kMaxLimitSeconds)));
  DVM_TRY(take_option(found, "--image", o.image, check_path));
  DVM_TRY(take_option(found, "--plot", o.plot, check_path));
  if (o.only.empty()) o.only = default_rebooters();
  return o;
}

Status find_image(RebootOptions& options) {
  const char* const lab = std::getenv("DVM_LAB_DISK");
  if (options.image.empty() && lab != nullptr) options.image = lab;
  if (options.image.empty())
    return usage_error("reboot: no disk: tools/lab run --disk IMAGE gives one, or --image FILE");
  return check_readable(options.image, "tools/guest-files disk makes an image");
}

std::string reboot_help() {
  return fmt::format(R"(NAME
  dvm-bench reboot - how long a Debian disk takes to come back after a panic, and what it reads

SYNOPSIS
  dvm-bench reboot [--only LIST] [--device LIST] [--memory LIST] [--runs N] [--cpus M] [--nodes N]
                   [--image FILE] [--settled] [--limit S] [--json] [--plot FILE.svg]

DESCRIPTION
  Boots a Debian image (tools/guest-files disk) in a machine, has its kernel panic
  (echo c > /proc/sysrq-trigger, with kernel.panic=-1), and waits until it is back, by each of the
  machines in turns. Both ways are told in phases by what is on the serial console, and by when sshd
  greets who connects to a port of this host; for each phase, what was read from the disk. The disk is
  one in this host's memory (null_blk), filled anew for each run, that takes as long over a request
  as a device of its class does. Needs root, and memory for what is on the image beside the guest's.

  First the image is booted once and shut down, so that no run is its first boot: what is on it
  changes (the lab throws that away).

    image=$(tools/guest-files disk | head -n 1)
    tools/lab run --timeout 7200 --memory 5G --disk "$image" -- build/bin/dvm-bench reboot

OPTIONS
  --only LIST      Of {0}.
                   Default: {1}.
                   dvm-srt and dvm-no-srt say --srt on and off; dvm says neither. qemu-none is QEMU,
                   q35 and SeaBIOS, with cache=none; qemu-writeback reads through the host's page
                   cache, which counts as memory used.
  --device LIST    Of {2}. Default: nvme.
                   none: as fast as this host's memory. docs/benchmarks-reboot.md has the figures.
  --memory LIST    RAM of the guest. From two sizes on, what each phase takes a GiB more is told, and
                   a projection to 1 TiB. Default: 1G.
  --runs N         Rounds. Default: 3.
  --cpus M         vCPUs. Default: 4.
  --nodes N        Of dvm. Default: 2.
  --image FILE     Default: the disk that tools/lab run --disk gives (DVM_LAB_DISK).
  --settled        The image was booted and shut down before: leave that out.
  --limit S        Seconds for a boot; one that takes longer has failed. Default: 900.
  --json           Print JSON.
  --plot FILE.svg  Write a chart of the times until all services run: medians, and p5 to p95.

EXIT CODES
  0 measured (whether the goals hold or not), 1 nothing could be measured, 64 bad command line
)",
                     fmt::join(rebooter_names(), ", "), fmt::join(default_rebooters(), ","),
                     device_class_names());
}

}  // namespace dvm::tools
