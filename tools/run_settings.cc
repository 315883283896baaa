#include "tools/run_settings.h"

#include <algorithm>
#include <charconv>

#include "tools/disk_launch.h"
#include "tools/placement.h"
#include "tools/size_text.h"
#include "tools/srt_option.h"
#include "vmm/layout.h"

namespace dvm::tools {
namespace {

template <typename T>
void take_over(std::optional<T>& base, std::optional<T>& over) {
  if (over) base = std::move(over);
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

Error count_error(std::string_view found, u32 max) {
  return usage_error("found '{}'; allowed: a whole number from 1 to {}", found, max);
}

// A kernel is booted directly, or firmware finds what to boot: what belongs to the one means
// nothing to the other.
Status check_boot(const RunRequest& r) {
  if (!r.kernel && !r.firmware && r.disks.empty()) {
    return usage_error(
        "nothing to boot: --kernel FILE, --disk IMG or --firmware FILE is needed (dvm-run --help)");
  }
  if (r.kernel && r.firmware)
    return usage_error("found --kernel and --firmware; allowed: one of them");
  if (!r.kernel && (r.initrd || r.append)) {
    return usage_error("found {} without --kernel; allowed: with a kernel that is booted directly",
                       r.initrd ? "--initrd" : "--append");
  }
  if (r.kernel && r.firmware_log)
    return usage_error("found --firmware-log with --kernel; allowed: with firmware");
  return {};
}

// The process of a user network takes part in page coherence, too, and there are 16 places.
Status check_members(const RunSettings& s) {
  const bool net_process = s.net && s.net->kind == NetKind::user;
  if (!s.software_coherence || !net_process || s.nodes < vmm::layout::kMaxNodes) return {};
  return usage_error(
      "nodes: found {} with --net user and --coherence software; allowed: at most {}", s.nodes,
      vmm::layout::kMaxNodes - 1);
}

}  // namespace

RunRequest override_with(RunRequest base, RunRequest over) {
  take_over(base.kernel, over.kernel);
  take_over(base.initrd, over.initrd);
  take_over(base.append, over.append);
  take_over(base.name, over.name);
  take_over(base.pool, over.pool);
  take_over(base.events, over.events);
  take_over(base.firmware, over.firmware);
  take_over(base.firmware_log, over.firmware_log);
  take_over(base.nodes, over.nodes);
  take_over(base.cpus, over.cpus);
  take_over(base.memory, over.memory);
  take_over(base.placement, over.placement);
  take_over(base.on_panic, over.on_panic);
  take_over(base.net, over.net);
  take_over(base.mac, over.mac);
  std::move(over.disks.begin(), over.disks.end(), std::back_inserter(base.disks));
  take_over(base.serial, over.serial);
  take_over(base.console, over.console);
  take_over(base.balloon, over.balloon);
  take_over(base.gdb, over.gdb);
  take_over(base.detach, over.detach);
  take_over(base.low_latency, over.low_latency);
  take_over(base.hang_after_ms, over.hang_after_ms);
  take_over(base.cpu, over.cpu);
  take_over(base.coherence, over.coherence);
  take_over(base.local_memory, over.local_memory);
  take_over(base.coherent_memory, over.coherent_memory);
  take_over(base.policy, over.policy);
  take_over(base.watchdog, over.watchdog);
  take_over(base.srt, over.srt);
  take_over(base.srt_memory, over.srt_memory);
  take_over(base.srt_warm, over.srt_warm);
  take_over(base.protection, over.protection);
  return base;
}

void start_paths_at(RunRequest& request, const std::string& folder) {
  const auto start = [&](std::string& path) {
    if (!path.empty() && path.front() != '/') path = folder + "/" + path;
  };
  for (auto* path : {&request.kernel, &request.initrd, &request.pool, &request.events,
                     &request.firmware, &request.firmware_log, &request.srt_warm}) {
    if (*path) start(**path);
  }
  for (DiskOption& disk : request.disks) start(disk.spec.path);
  if (request.serial) start(request.serial->path);
  if (request.console) start(request.console->where.path);
  if (request.gdb) start(request.gdb->path);
}

Result<RunSettings> settle(RunRequest request, std::string default_name) {
  DVM_TRY(check_boot(request));
  RunSettings settings;
  settings.kernel = request.kernel.value_or("");
  if (!request.kernel) settings.firmware = request.firmware.value_or(std::string(kDefaultFirmware));
  settings.firmware_log = std::move(request.firmware_log);
  settings.initrd = std::move(request.initrd);
  settings.append = request.append.value_or("");
  settings.nodes = request.nodes.value_or(settings.nodes);
  settings.cpus = request.cpus.value_or(settings.cpus);
  settings.memory = request.memory.value_or(settings.memory);
  settings.placement = request.placement ? std::move(*request.placement)
                                         : balanced_placement(settings.cpus, settings.nodes);
  if (const auto fits = check_placement(settings.placement, settings.cpus, settings.nodes); !fits) {
    return usage_error("placement: {}", fits.error().message);
  }
  settings.name = request.name.value_or(std::move(default_name));
  settings.pool = request.pool.value_or("");
  settings.on_panic = request.on_panic.value_or(settings.on_panic);
  settings.watchdog = request.watchdog.value_or(settings.watchdog);
  settings.events = std::move(request.events);
  if (request.mac && !request.net) return usage_error("mac: a network is needed too (net)");
  settings.net = std::move(request.net);
  settings.mac = request.mac.value_or(default_mac(settings.name));
  if (request.disks.size() > GuestDisks::kMax) {
    return usage_error("disks: found {}; allowed: at most {}", request.disks.size(),
                       GuestDisks::kMax);
  }
  settings.disks = std::move(request.disks);
  DVM_ASSIGN(settings.software_coherence,
             settle_coherence(request.coherence, request.local_memory, request.coherent_memory,
                              settings.memory));
  DVM_TRY(check_members(settings));
  settings.policy = request.policy.value_or(settings.policy);
  settings.protection = request.protection.value_or(settings.protection);
  if (settings.protection.level == vmm::Protection::epoch && settings.software_coherence)
    return usage_error("protect: epochs need a pool that is coherent by itself (coherence shared)");
  DVM_ASSIGN(settings.srt_memory,
             settle_srt(request.srt, request.srt_memory, settings.memory, !settings.disks.empty()));
  if (request.srt_warm) DVM_TRY(check_srt_warm(request.srt, !settings.disks.empty()));
  settings.srt_warm = std::move(request.srt_warm);
  settings.detach = request.detach.value_or(false);
  settings.low_latency = request.low_latency.value_or(false);
  settings.hang_after_ms = request.hang_after_ms.value_or(settings.hang_after_ms);
  settings.cpu = request.cpu.value_or(settings.cpu);
  settings.console = request.console.value_or(settings.console);
  settings.balloon = request.balloon.value_or(false);
  settings.gdb = std::move(request.gdb);
  const bool console_there = settings.console.where.kind == SerialKind::stdio;
  settings.serial = request.serial.value_or(
      SerialTarget{settings.detach || console_there ? SerialKind::log : SerialKind::stdio, {}});
  if (console_there && (settings.detach || settings.serial.kind == SerialKind::stdio)) {
    return usage_error(
        "console: found virtio:stdio with {}; allowed: virtio, virtio:file:PATH or "
        "virtio:unix:PATH",
        settings.detach ? "--detach" : "--serial stdio");
  }
  if (settings.detach && settings.serial.kind == SerialKind::stdio) {
    return usage_error("serial: found stdio with --detach; allowed: file:PATH, unix:PATH, or none");
  }
  return settings;
}

Result<u32> check_count(u64 value, u32 max) {
  if (value < 1 || value > max) return count_error(fmt::to_string(value), max);
  return static_cast<u32>(value);
}

Result<u32> parse_count(std::string_view text, u32 max) {
  u32 value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc{} || rest != end || value < 1 || value > max)
    return count_error(text, max);
  return value;
}

Result<u32> check_hang_after(u64 milliseconds) {
  constexpr u32 kLeast = 100, kMost = 600'000;
  if (milliseconds < kLeast || milliseconds > kMost)
    return usage_error("found {}; allowed: {} to {} (milliseconds)", milliseconds, kLeast, kMost);
  return static_cast<u32>(milliseconds);
}

Result<u32> parse_hang_after(std::string_view text) {
  u32 value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc{} || rest != end)
    return usage_error("found '{}'; allowed: 100 to 600000 (milliseconds)", text);
  return check_hang_after(value);
}

Result<u64> check_memory(u64 bytes) {
  using vmm::layout::kMaxMemory;
  using vmm::layout::kMinMemory;
  if (bytes < kMinMemory || bytes > kMaxMemory) {
    return usage_error("found {}; allowed: {} to {}", format_size(bytes), format_size(kMinMemory),
                       format_size(kMaxMemory));
  }
  if (!is_aligned(bytes, kHugePageBytes)) {
    return usage_error("found {}; allowed: a multiple of 2 MiB", format_size(bytes));
  }
  return bytes;
}

Result<std::string> check_name(std::string name) {
  const bool good = !name.empty() && name.size() <= 48 && name != "." && name != ".." &&
                    std::all_of(name.begin(), name.end(), is_name_character);
  if (!good) return usage_error("found '{}'; allowed: 1 to 48 of A-Z a-z 0-9 . _ -", name);
  return name;
}

Result<std::string> check_path(std::string path) {
  if (path.empty()) return usage_error("found an empty path; allowed: the path of a file");
  return check_text(std::move(path));
}

Result<std::string> check_text(std::string text) {
  if (text.find('\0') != std::string::npos) {
    return usage_error("found a NUL character; allowed: text without");
  }
  return text;
}

Result<vmm::CpuLevel> parse_cpu(std::string_view name) {
  if (const auto level = vmm::cpu_level_named(name)) return *level;
  return usage_error("found '{}'; allowed: host, x86-64-v1, x86-64-v2 or x86-64-v3", name);
}

Result<PanicPolicy> parse_panic_policy(std::string_view text) {
  if (text == "reboot") return PanicPolicy::reboot;
  if (text == "exit") return PanicPolicy::exit;
  return usage_error("found '{}'; allowed: reboot or exit", text);
}

Result<ProtectionChoice> parse_protection(std::string_view text) {
  constexpr std::string_view kEpoch = "epoch";
  if (text == "none") return ProtectionChoice{};
  if (text == "flush") return ProtectionChoice{.level = vmm::Protection::flush};
  ProtectionChoice epochs{.level = vmm::Protection::epoch};
  if (text == kEpoch) return epochs;
  if (text.starts_with("epoch:")) {
    const std::string_view digits = text.substr(kEpoch.size() + 1);
    const char* const end = digits.data() + digits.size();
    const auto [last, error] = std::from_chars(digits.data(), end, epochs.epoch_ms);
    if (error == std::errc() && last == end && epochs.epoch_ms >= vmm::kLeastEpochMs &&
        epochs.epoch_ms <= vmm::kMostEpochMs)
      return epochs;
  }
  return usage_error("found '{}'; allowed: none, flush, epoch, or epoch:MS of {} to {} ms", text,
                     vmm::kLeastEpochMs, vmm::kMostEpochMs);
}

}  // namespace dvm::tools
