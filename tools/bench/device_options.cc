#include "tools/bench/device_options.h"

#include <algorithm>

#include "tools/bench/bench_words.h"
#include "tools/run_settings.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

constexpr u32 kMaxRuns = 1000, kMaxSeconds = 3600, kMaxPort = 65535;

const OptionNames kNames = {
    .with_value = {"--peer", "--runs", "--cpus", "--memory", "--kernel", "--initrd", "--nodes",
                   "--limit", "--plot", "--seconds", "--jobs", "--disk", "--net", "--port"},
    .flags = {"--json", "--reasons", "--help"},
};

// Pattern, block size, queue depth.
const std::vector<DeviceJob> kDiskJobs = {
    {"randread-4k-1", "IOPS"},   {"randread-4k-16", "IOPS"}, {"randwrite-4k-1", "IOPS"},
    {"randwrite-4k-16", "IOPS"}, {"read-256k-1", "IOPS"},    {"read-1m-16", "IOPS"},
    {"write-256k-1", "IOPS"},    {"write-1m-16", "IOPS"},
};
const std::vector<DeviceJob> kNetJobs = {
    {"tcp-out", "Mbit/s"},      {"tcp-in", "Mbit/s"},      {"tcp-out-64", "Mbit/s"},
    {"udp-out-64", "packet/s"}, {"udp-in-64", "packet/s"}, {"ping", "round trip/s"},
};

Result<std::vector<DeviceJob>> parse_jobs(const std::string& text,
                                          const std::vector<DeviceJob>& all) {
  std::vector<DeviceJob> jobs;
  for (const std::string& name : split_list(text)) {
    const auto known = std::ranges::find(all, name, &DeviceJob::name);
    if (known == all.end()) {
      std::string names;
      for (const auto& job : all) names += (names.empty() ? "" : ", ") + job.name;
      return usage_error("found '{}'; allowed: {}", name, names);
    }
    jobs.push_back(*known);
  }
  return jobs;
}

Result<std::vector<std::string>> parse_nets(const std::string& text) {
  std::vector<std::string> nets = split_list(text);
  for (const auto& net : nets) {
    const bool tap = net.starts_with("tap=") && net.size() > 4 && net.size() < 20;
    if (net != "user" && !tap) return usage_error("found '{}'; allowed: user, tap=IFNAME", net);
  }
  return nets;
}

}  // namespace

Result<DeviceOptions> parse_device_options(const std::string& benchmark,
                                           const std::vector<std::string>& words) {
  const bool disk = benchmark == "disk";
  DVM_ASSIGN(const CommandWords found, split_command_line(words, kNames));
  DeviceOptions o;
  o.help = found.has("--help");
  o.json = found.has("--json");
  o.reasons = found.has("--reasons");
  if (o.help) return o;
  if (!found.rest.empty()) {
    return usage_error("{}: found '{}', which belongs to no option (--help lists them)", benchmark,
                       found.rest.front());
  }
  for (const char* alien : {disk ? "--net" : "--disk", disk ? "--port" : "--disk"}) {
    if (found.value(alien)) return usage_error("{}: unknown option {}", benchmark, alien);
  }
  const auto& all = disk ? kDiskJobs : kNetJobs;
  o.jobs = all;
  if (!disk) o.net = {"user"};
  const auto count = [](u32 most) {
    return [most](const std::string& text) { return parse_count(text, most); };
  };
  DVM_TRY(take_option(found, "--peer", o.peer_srt_off, [&](auto& text) -> Result<bool> {
    if (disk && text == "srt-off") return true;
    o.peer_qemu = text == "qemu";
    if (o.peer_qemu) return false;
    return usage_error("found '{}'; allowed: {}", text, disk ? "qemu or srt-off" : "qemu");
  }));
  DVM_TRY(take_option(found, "--runs", o.runs, count(kMaxRuns)));
  DVM_TRY(take_option(found, "--seconds", o.seconds, count(kMaxSeconds)));
  DVM_TRY(take_option(found, "--cpus", o.cpus, count(vmm::layout::kMaxVcpus)));
  DVM_TRY(take_option(found, "--memory", o.memory, parse_memory));
  DVM_TRY(take_option(found, "--nodes", o.nodes, parse_nodes));
  DVM_TRY(take_option(found, "--limit", o.limit_s, count(kMaxSeconds)));
  DVM_TRY(take_option(found, "--jobs", o.jobs, [&](auto& t) { return parse_jobs(t, all); }));
  DVM_TRY(take_option(found, "--kernel", o.kernel, check_path));
  DVM_TRY(take_option(found, "--initrd", o.initrd, check_path));
  DVM_TRY(take_option(found, "--disk", o.disk, check_path));
  DVM_TRY(take_option(found, "--net", o.net, parse_nets));
  DVM_TRY(take_option(found, "--port", o.port, count(kMaxPort)));
  DVM_TRY(take_option(found, "--plot", o.plot, check_path));
  if (disk && o.disk.empty())
    return usage_error("disk: --disk FILE is needed; what is on it is overwritten");
  return o;
}

Status find_device_files(const std::string& benchmark, DeviceOptions& options) {
  const std::string cache = cache_folder();
  if (options.kernel.empty()) options.kernel = cache + "/kernels/cloud/vmlinuz";
  if (options.initrd.empty()) options.initrd = cache + "/initramfs-bench-" + benchmark + ".cpio";
  for (const auto& path : {options.kernel, options.initrd})
    DVM_TRY(check_readable(path, "tools/guest-files bench makes kernel and initramfs"));
  if (!options.disk.empty()) return check_readable(options.disk, "no such disk");
  return {};
}

std::string device_help(const std::string& benchmark) {
  const bool disk = benchmark == "disk";
  const std::string names = [&] {
    std::string text;
    for (const auto& job : disk ? kDiskJobs : kNetJobs)
      text += (text.empty() ? "" : ", ") + job.name;
    return text;
  }();
  const char* const load =
      disk
          ? R"(  Runs fio in a guest, on a disk that all machines have in turns, with the same flags: direct,
  io_uring, a queue for each vCPU. A job's name is its pattern, block size and queue depth.)"
          : R"(  Runs iperf3 in a guest against its server here, and ping: out of the guest and into it, in bulk
  and in pieces of 64 bytes. All machines have the same network in turns.)";
  const char* const own =
      disk
          ? R"(  --disk FILE      A file or block device; needed. What is on it is overwritten.)"
          : R"(  --net LIST       user, and tap=IFNAME: an interface that exists (ip tuntap add IFNAME mode tap
                   multi_queue), is up and has an IPv4 address; the guest gets the next one.
                   Default: user. Beside QEMU a tap is also measured with vhost=on, which dvm does
                   not have: a figure to look at, with no goal.
  --port N         Of iperf3's server. Default: 5201.)";
  return fmt::format(
      R"(NAME
  dvm-bench {0} - throughput of a guest's {0}, exits and interrupts, side by side

SYNOPSIS
  dvm-bench {0} {1} [--peer qemu] [--nodes 1,2] [--jobs LIST] [--seconds S] [--runs N] [--cpus M]
                 [--memory SIZE] [--reasons] [--kernel FILE] [--initrd FILE] [--limit S] [--json]
                 [--plot FILE.svg]

DESCRIPTION
{2}
  The machines take turns; a first round is not counted. Beside rates, exits of the vCPUs and
  interrupts of the device's queues are counted for each request or packet. The guest's files are
  made by tools/guest-files bench.

OPTIONS
{3}
  --peer qemu      Compare with QEMU and KVM, q35. Default: no peer.
{5}  --nodes LIST     dvm over these numbers of nodes. Default: 1,2.
  --jobs LIST      Of {4}.
                   Default: all.
  --seconds S      A job takes. Default: 3.
  --runs N         Rounds that count. Default: 5.
  --cpus M         vCPUs, of each machine. Default: 2.
  --memory SIZE    RAM, of each machine. Default: 512M.
  --kernel FILE    Default: the cloud kernel.
  --initrd FILE    Default: the initramfs that tools/guest-files bench made.
  --limit S        Seconds after which a run is ended, and counted as failed. Default: 180.
  --reasons        A further round in which exits are counted by reason. Needs root.
  --json           Print JSON.
  --plot FILE.svg  Write a chart of the ratios to QEMU: medians, and the range from p5 to p95.

EXIT CODES
  0 measured (whether the goals hold or not), 1 nothing could be measured, 64 bad command line
)",
      benchmark, disk ? "--disk FILE" : "[--net LIST]", load, own, names,
      disk ? "  --peer srt-off   Compare with ourselves without the storage replica table.\n" : "");
}

}  // namespace dvm::tools
