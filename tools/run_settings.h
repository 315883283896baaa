// What a guest is to be started with: said in parts by the command line and a configuration file,
// then settled into one whole that holds.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"
#include "hyperkernel/locality/policy.h"
#include "tools/console_target.h"
#include "tools/disk_option.h"
#include "tools/gdb_target.h"
#include "tools/memory_option.h"
#include "tools/net_option.h"
#include "tools/serial_target.h"
#include "vmm/cpu_level.h"
#include "vmm/epoch_word.h"
#include "vmm/protection.h"

namespace dvm::tools {

enum class PanicPolicy { reboot, exit };

// --protect: how much, and how long an epoch lasts at most.
struct ProtectionChoice {
  vmm::Protection level = vmm::Protection::none;
  u32 epoch_ms = 100;
};

// One source's words; what it does not mention is absent. Each value is in its own range already.
struct RunRequest {
  std::optional<std::string> kernel, initrd, append, name, pool, events, firmware, firmware_log;
  std::optional<u32> nodes, cpus;
  std::optional<u64> memory;
  std::optional<std::vector<u16>> placement;
  std::optional<PanicPolicy> on_panic;
  std::optional<bool> watchdog;
  std::optional<NetOption> net;
  std::optional<vmm::net::MacAddress> mac;
  std::vector<DiskOption> disks;  // those of the command line come after those of the file
  std::optional<SerialTarget> serial;
  std::optional<ConsoleTarget> console;
  std::optional<bool> balloon;
  std::optional<GdbTarget> gdb;
  std::optional<bool> detach;
  std::optional<bool> low_latency;
  std::optional<u32> hang_after_ms;
  std::optional<vmm::CpuLevel> cpu;
  std::optional<CoherenceMode> coherence;
  std::optional<u64> local_memory, coherent_memory;
  std::optional<locality::PolicyKind> policy;
  std::optional<ProtectionChoice> protection;
  std::optional<bool> srt;
  std::optional<u64> srt_memory;
  std::optional<std::string> srt_warm;
};

// SeaBIOS, as Debian's package `seabios` installs it.
inline constexpr std::string_view kDefaultFirmware = "/usr/share/seabios/bios-256k.bin";

struct RunSettings {
  std::string kernel;                   // empty: there is firmware
  std::optional<std::string> firmware;  // when no kernel is booted directly
  std::optional<std::string> firmware_log;
  std::optional<std::string> initrd;
  std::string append;
  u32 nodes = 1;
  u32 cpus = 1;
  u64 memory = 512 * kMiB;
  std::vector<u16> placement;
  std::string name;
  std::string pool;  // empty: anonymous memory
  PanicPolicy on_panic = PanicPolicy::reboot;
  bool watchdog = false;
  std::optional<std::string> events;
  std::optional<NetOption> net;
  vmm::net::MacAddress mac{};  // with a network
  std::vector<DiskOption> disks;
  SerialTarget serial;
  ConsoleTarget console;
  bool balloon = false;
  std::optional<GdbTarget> gdb;
  bool detach = false;
  bool low_latency = false;
  u32 hang_after_ms = 2000;
  vmm::CpuLevel cpu = vmm::CpuLevel::host;
  std::optional<CoherenceSettings> software_coherence;
  locality::PolicyKind policy = locality::PolicyKind::fixed;
  ProtectionChoice protection;
  std::optional<u64> srt_memory;        // of the storage replica table; nothing: there is none
  std::optional<std::string> srt_warm;  // the file of what the guest wants when it boots
  // Of a guest that goes on from copies of its disks: where what it writes to them stays.
  std::optional<std::string> overlays;
  std::string launch;  // all of this as text, for who resumes the guest (run_command_line.h)
};

// `over` wins wherever it says something.
RunRequest override_with(RunRequest base, RunRequest over);
// Paths that are relative begin in that folder.
void start_paths_at(RunRequest& request, const std::string& folder);
// Fills in the defaults and checks what concerns more than one value. `default_name` is for a guest
// that was given none.
Result<RunSettings> settle(RunRequest request, std::string default_name);

// --- the range of each value; errors read "found X; allowed: Y" -------------------------------
Result<u32> check_count(u64 value, u32 max);
// Milliseconds of a node's silence, 100 to 600000.
Result<u32> check_hang_after(u64 milliseconds);
Result<u32> parse_hang_after(std::string_view text);
Result<u32> parse_count(std::string_view text, u32 max);
Result<u64> check_memory(u64 bytes);
Result<std::string> check_name(std::string name);
Result<std::string> check_path(std::string path);
Result<std::string> check_text(std::string text);
Result<vmm::CpuLevel> parse_cpu(std::string_view name);
Result<PanicPolicy> parse_panic_policy(std::string_view text);
Result<ProtectionChoice> parse_protection(std::string_view text);

}  // namespace dvm::tools
