#include "tools/guest_preparation.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstring>

#include "fabric/fabric_state.h"
#include "hyperkernel/userfault.h"
#include "tools/checkpoint_disks.h"
#include "tools/message.h"
#include "tools/node_process.h"
#include "tools/size_text.h"
#include "tools/warm_file.h"
#include "vmm/boot/firmware.h"
#include "vmm/kvm/kvm.h"
#include "vmm/net/tap.h"
#include "vmm/ram_place.h"

namespace dvm::tools {
namespace {

Result<Fd> open_file(std::string_view role, const std::string& path) {
  auto file = Fd::open(path, O_RDONLY | O_NONBLOCK);  // a pipe must not keep us waiting
  if (!file) return usage_error("{}: {}", role, file.error().message);
  return file;
}

Status check_cpu(vmm::CpuLevel level) {
  if (level == vmm::CpuLevel::host) return {};
  DVM_ASSIGN(const auto supported, vmm::supported_cpuid());
  if (const auto fits = vmm::check_cpu_level(supported, level); !fits)
    return error("--cpu: {}", fits.error().message);
  return {};
}

Status check_coherence(const RunSettings& settings) {
  if (!settings.software_coherence) return {};
  const auto usable = hyperkernel::Userfault::probe();
  return usable.ok() ? Status() : error("--coherence: {}", usable.error().message);
}

// Shared pages are mapped one by one.
Status check_page_mapping(vmm::Machine& machine) {
  if (!machine.has_software_coherence()) return {};
  const fabric::Pool& pool = machine.pool();
  DVM_ASSIGN(const auto frames, pool.region_header(fabric::RegionKind::frames, 1));
  const auto one = Mapping::shared(pool.fd(), frames.offset + kPageBytes, kPageBytes, pool.name());
  if (one.ok()) return {};
  return error("--coherence: software needs a pool that can be mapped by pages of 4 KiB; {} cannot",
               pool.path());
}

u16 tap_queues(const NetOption& net) { return net.queues == 0 ? u16{1} : net.queues; }

// There is room: the limits of each kind add up to less.
u32 free_function(const vmm::MachineConfig& config) {
  return vmm::find_function(config.functions, vmm::FunctionKind::none).value_or(0);
}
static_assert(kFirstDiskFunction + GuestDisks::kMax + 3 <= vmm::kMaxFunctions);

void add_console_and_balloon(const RunSettings& settings, vmm::MachineSpec& spec) {
  if (settings.console.present) {
    const u32 function = free_function(spec.config);
    spec.config.functions[function].kind = vmm::FunctionKind::console;
    spec.capacity[function] = vmm::ConsoleSize{}.packed();
  }
  if (settings.balloon)
    spec.config.functions[free_function(spec.config)].kind = vmm::FunctionKind::balloon;
}

void add_network(const RunSettings& settings, vmm::MachineConfig& config) {
  if (!settings.net) return;
  vmm::FunctionConfig* const free = &config.functions[free_function(config)];
  const bool tap = settings.net->kind == NetKind::tap;
  free->kind = vmm::FunctionKind::net;
  free->queues = tap ? tap_queues(*settings.net) : std::min<u32>(settings.cpus, vmm::kMaxNetPairs);
  free->flags = vmm::kNetOffloads | (tap ? vmm::kNetTap | vmm::kNetEcn : 0);
  free->mac = settings.mac;
}

Result<std::optional<PreparedTap>> open_network(const RunSettings& settings) {
  std::optional<PreparedTap> tap;
  if (!settings.net || settings.net->kind != NetKind::tap) return tap;
  tap.emplace();
  auto queues = vmm::open_tap(settings.net->interface, tap_queues(*settings.net));
  if (!queues) return error("--net: {}", queues.error().message);
  tap->queues = queues.take();
  tap->wake = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!tap->wake.valid()) return sys_error("eventfd");
  return tap;
}

Result<vmm::MachineSpec> describe_machine(const RunSettings& settings, const vmm::BootSource& boot,
                                          const GuestDisks& disks, const HostLook& host) {
  vmm::MachineSpec spec;
  std::copy(settings.name.begin(), settings.name.end(), spec.config.name.begin());
  spec.config.memory_bytes = settings.memory;
  spec.tsc_offset = u64{0} - __rdtsc();  // the guest's TSC starts near 0
  spec.config.tsc_khz = host.tsc_khz;
  spec.config.vcpus = settings.cpus;
  spec.config.nodes = settings.nodes;
  if (boot.firmware) {
    DVM_ASSIGN(const u64 bytes, vmm::check_firmware(*boot.firmware, boot.firmware_name));
    spec.config.firmware_bytes = static_cast<u32>(bytes);
  }
  spec.config.firmware_log = settings.firmware_log ? 1 : 0;
  spec.config.exit_on_panic = settings.on_panic == PanicPolicy::exit ? 1 : 0;
  spec.config.watchdog = settings.watchdog ? 1 : 0;
  spec.config.cpu_level = settings.cpu;
  if (settings.software_coherence) {
    spec.coherence = {settings.software_coherence->coherent_bytes,
                      settings.software_coherence->local_bytes};
  }
  spec.policy = settings.policy;
  spec.replica_bytes = settings.srt_memory;
  spec.config.protection = settings.protection.level;
  spec.epoch_ms = settings.protection.epoch_ms;
  spec.launch = settings.launch;
  std::copy(settings.placement.begin(), settings.placement.end(), spec.placement.begin());
  spec.pool_path = settings.pool;
  for (u32 n = 0; n < disks.count(); ++n) {
    spec.config.functions[kFirstDiskFunction + n] =
        disks.function(n, std::min(settings.cpus, vmm::kMaxBlockQueues));
    spec.capacity[kFirstDiskFunction + n] = disks.bytes(n);
  }
  // Where copies of blocks are of use after a reset, it leaves RAM where it was.
  if (settings.srt_memory && !spec.coherence && fabric::takes_holes(settings.pool) &&
      settings.protection.level != vmm::Protection::epoch)
    spec.config.ram_places = vmm::kRamPlaces;
  add_network(settings, spec.config);
  add_console_and_balloon(settings, spec);
  return spec;
}

// Nobody loses a guest by starting another.
Status check_pool(const std::string& path) {
  if (path.empty() || !vmm::open_resumable(path, 0).ok()) return {};
  return usage_error(
      "pool {}: holds a guest that can go on (dvm-run --resume {}); remove or overwrite it if it "
      "is not wanted",
      path, path);
}

// The files may have changed since.
Status check_same(const RunSettings& settings, const std::string& from,
                  const vmm::MachineConfig& config,
                  const std::array<u64, vmm::kMaxFunctions>& capacity,
                  const vmm::MachineSpec& now) {
  const auto other = [&](const std::string& what) { return error("--resume {}: {}", from, what); };
  if (config.firmware_bytes != now.config.firmware_bytes)
    return other("its firmware is another one now");
  if (config.vcpus != now.config.vcpus || config.memory_bytes != now.config.memory_bytes)
    return other("how the guest was launched is not what its machine is");
  for (u32 i = 0; i < vmm::kMaxFunctions; ++i) {
    const u32 disk = i - kFirstDiskFunction;
    const bool is_disk = i >= kFirstDiskFunction && disk < settings.disks.size();
    if (std::memcmp(&config.functions[i], &now.config.functions[i], sizeof(vmm::FunctionConfig)) !=
        0)
      return other(fmt::format("device {} is not what it was", i));
    if (is_disk && now.capacity[i] < capacity[i]) {
      return other(fmt::format("disk {} has {} bytes, and the guest knows {}",
                               settings.disks[disk].spec.path, now.capacity[i], capacity[i]));
    }
  }
  return {};
}

// What a device's state holds that its configuration does not say stays as it was.
Result<std::unique_ptr<vmm::Machine>> restore(const RunSettings& settings, vmm::MachineSpec spec,
                                              vmm::checkpoint::Restorable& from) {
  const std::string& name = from.file.name();
  for (u32 i = 0; i < vmm::kMaxFunctions; ++i) {
    if (from.image.config.functions[i].kind == vmm::FunctionKind::console)
      spec.capacity[i] = from.image.capacity[i];
  }
  vmm::MachineConfig was = from.image.config;
  for (u32 i = 0; i < vmm::kMaxFunctions; ++i) was.functions[i].mac = spec.config.functions[i].mac;
  DVM_TRY(check_same(settings, name, was, from.image.capacity, spec));
  u64 said = fabric::monotonic_ns();
  return vmm::checkpoint::restore_machine(from, spec, [&](u64 pages) -> Status {
    constexpr u64 kSayEveryNs = 2'000'000'000;
    if (fabric::monotonic_ns() - said < kSayEveryNs) return {};
    said = fabric::monotonic_ns();
    say("{}: read {} of {} MiB", name, pages * kPageBytes / kMiB, spec.config.memory_bytes / kMiB);
    return {};
  });
}

Result<std::unique_ptr<vmm::Machine>> make_machine(const RunSettings& settings,
                                                   const vmm::MachineSpec& spec, GoesOnFrom& from) {
  std::unique_ptr<vmm::Machine> machine;
  if (from.pool) {
    DVM_TRY(check_same(settings, settings.pool, from.pool->config, from.pool->capacity, spec));
    DVM_ASSIGN(machine, vmm::resume_machine(std::move(*from.pool), spec));
  } else if (from.checkpoint) {
    DVM_TRY(check_pool(settings.pool));
    DVM_ASSIGN(machine, restore(settings, spec, *from.checkpoint));
  } else {
    DVM_TRY(check_pool(settings.pool));
    DVM_ASSIGN(machine, vmm::Machine::create(spec));
  }
  if (const Status fits = check_page_mapping(*machine); !fits.ok()) {
    machine->pool().unlink();
    return fits.error();
  }
  DVM_ASSIGN(auto* const fabric, machine->pool().record<fabric::FabricState>(
                                     fabric::RegionKind::membership, fabric::kMembershipVersion));
  fabric->deadline_ms.store(settings.hang_after_ms);
  return machine;
}

std::string plural(u32 count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace

Result<vmm::BootSource> open_boot_source(const RunSettings& settings) {
  vmm::BootSource boot;
  if (settings.firmware) {
    DVM_ASSIGN(boot.firmware, open_file("--firmware", *settings.firmware));
    boot.firmware_name = *settings.firmware;
    DVM_TRY(vmm::check_boot_source(boot, settings.memory));
    return boot;
  }
  DVM_ASSIGN(boot.kernel, open_file("--kernel", settings.kernel));
  boot.kernel_name = settings.kernel;
  if (settings.initrd) {
    DVM_ASSIGN(boot.initrd, open_file("--initrd", *settings.initrd));
    boot.initrd_name = *settings.initrd;
  }
  boot.command_line = settings.append;
  DVM_TRY(vmm::check_boot_source(boot, settings.memory));
  return boot;
}

namespace {

// Disks that were copied go on from there. `settings` says where, if that stays.
Result<GuestDisks> open_disks(RunSettings& settings, const GoesOnFrom& from) {
  if (!from.checkpoint) return GuestDisks::open(settings.disks);
  const std::string& was = from.checkpoint->image.disks;
  Status able = check_disks(was, settings.disks);
  if (able.ok()) {
    auto overlays = make_overlays(was, settings);
    if (overlays.ok()) return GuestDisks::open(settings.disks, overlays.take());
    able = overlays.error();
  }
  return error("--resume {}: {}", from.checkpoint->file.name(), able.error().message);
}

// A guest that goes on knows its disks.
Status let_stay(GuestDisks& disks, const RunSettings& settings, const GoesOnFrom& from) {
  if (!from.pool && !from.checkpoint) return {};
  const vmm::MachineConfig& known = from.pool ? from.pool->config : from.checkpoint->image.config;
  for (u32 n = 0; n < disks.count(); ++n) {
    const Status stays = disks.stay(n, known.functions[kFirstDiskFunction + n]);
    if (!stays.ok())
      return error("--resume {}: {}", from.pool ? settings.pool : from.checkpoint->file.name(),
                   stays.error().message);
  }
  return {};
}

}  // namespace

Result<PreparedGuest> prepare_guest(const RunSettings& wanted, GoesOnFrom from,
                                    std::optional<HostLook> host) {
  RunSettings settings = wanted;
  DVM_ASSIGN(auto boot, open_boot_source(settings));
  DVM_ASSIGN(auto disks, open_disks(settings, from));
  if (settings.srt_warm) DVM_TRY(WarmFile::check(*settings.srt_warm));
  if (!host) {
    DVM_ASSIGN(host, look_at_host());
  }
  DVM_TRY(check_cpu(settings.cpu));
  DVM_TRY(check_coherence(settings));
  DVM_ASSIGN(auto node_program, sibling_program("dvm-node"));
  std::optional<fabric::AwakeProcessors> awake;
  if (settings.low_latency) {
    auto asked = fabric::AwakeProcessors::ask();
    if (!asked) return usage_error("--low-latency: {}", asked.error().message);
    awake = asked.take();
  }
  DVM_ASSIGN(auto folder, GuestFolder::claim(settings.name));
  DVM_ASSIGN(auto tap, open_network(settings));
  DVM_TRY(disks.start_servers(folder.path()));
  DVM_TRY(let_stay(disks, settings, from));
  std::optional<EventFile> events;
  if (settings.events) {
    DVM_ASSIGN(events, EventFile::open(*settings.events));
  }
  std::optional<Fd> firmware_log;
  if (settings.firmware_log) {
    auto file = Fd::open(*settings.firmware_log, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0644);
    if (!file) {
      if (events) events->discard();
      return usage_error("--firmware-log: {}", file.error().message);
    }
    firmware_log = file.take();
  }
  auto spec = describe_machine(settings, boot, disks, *host);
  auto machine = spec.ok() ? make_machine(settings, *spec, from)
                           : Result<std::unique_ptr<vmm::Machine>>(spec.error());
  if (!machine) {
    if (events) events->discard();
    return machine.error();
  }
  disks.keep_overlays();
  return PreparedGuest{
      std::move(node_program), std::move(boot),           std::move(folder), std::move(events),
      std::move(firmware_log), std::move(disks),          machine.take(),    std::move(tap),
      std::move(awake),        std::move(from.checkpoint)};
}

std::string describe_guest(const RunSettings& settings) {
  return fmt::format("{}: {} on {}, {}, pool {}", settings.name, plural(settings.cpus, "vCPU"),
                     plural(settings.nodes, "node"), format_size(settings.memory),
                     settings.pool.empty() ? "memfd" : settings.pool);
}

}  // namespace dvm::tools
