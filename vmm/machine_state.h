// Everything that defines the guest machine apart from RAM, in the pool: any node can carry out any
// behaviour on it. Offsets are fixed by these structs; docs/pool-layout.md draws them.
#pragma once

#include <array>
#include <atomic>

#include "fabric/doorbell.h"
#include "fabric/instance.h"
#include "fabric/pool_lock.h"
#include "fabric/pool_record.h"
#include "vmm/balloon_record.h"
#include "vmm/boot/entry_state.h"
#include "vmm/cpu_level.h"
#include "vmm/debug_record.h"
#include "vmm/device_cell.h"
#include "vmm/devices/acpi_pm.h"
#include "vmm/devices/debug_port.h"
#include "vmm/devices/error_source.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/devices/generation_id.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/pit.h"
#include "vmm/devices/reset_port.h"
#include "vmm/devices/rtc.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/watchdog.h"
#include "vmm/irq/ioapic.h"
#include "vmm/irq/lapic.h"
#include "vmm/irq/pic.h"
#include "vmm/keeper_record.h"
#include "vmm/kvm/kvm_api.h"
#include "vmm/kvm_clock.h"
#include "vmm/layout.h"
#include "vmm/net/net_record.h"
#include "vmm/pci/host_bridge.h"
#include "vmm/protection.h"
#include "vmm/vcpu_image.h"
#include "vmm/vcpu_journal.h"
#include "vmm/vcpu_place.h"
#include "vmm/vcpu_state.h"
#include "vmm/virtio/function.h"

namespace dvm::vmm {

inline constexpr u32 kMachineVersion = 16;

inline constexpr u32 kMostRamPlaces = 3;  // ram_place.h

// Stable instance ids: the launcher, then the nodes.
inline constexpr u32 kLauncherInstance = 0;
inline constexpr u32 kFirstNodeInstance = 1;
inline constexpr u32 kNetInstance = kFirstNodeInstance + layout::kMaxNodes;  // dvm-net
static_assert(kNetInstance < fabric::kMaxInstances - 1);

// What the machine is. Written before the first node starts, then only read.
struct MachineConfig {
  std::array<char, 64> name{};
  u64 memory_bytes = 0;
  u64 tsc_khz = 0;
  u32 vcpus = 0;
  u32 nodes = 0;
  u32 exit_on_panic = 0;
  std::array<FunctionConfig, kMaxFunctions> functions = only_rng();
  u32 firmware_bytes = 0;  // of its image; 0: a kernel is booted directly
  u32 firmware_log = 0;    // somebody listens to the debug port
  CpuLevel cpu_level = CpuLevel::host;
  Protection protection = Protection::none;
  u32 ram_places = 1;  // ram_place.h
  u32 watchdog = 0;    // 1: there is one
  u32 reserved = 0;
  u32 checksum = 0;  // CRC-32C of all bytes before it
};
static_assert(sizeof(MachineConfig) == 128 + 64 * kMaxFunctions);

u32 config_checksum(const MachineConfig& config);
// The one door for a machine's limits; `name` is the pool's.
Status check_config(const MachineConfig& config, std::string_view name);

// The CPU model the guest sees, recorded by the first node; another that offers less is refused.
struct CpuBaseline {
  static constexpr u32 kMaxEntries = 128;
  std::atomic<u32> count;  // stored last: 0 until the entries are whole
  u32 checksum;            // CRC-32C of the entries that count
  std::array<kvm_cpuid_entry2, kMaxEntries> entries;
};

u32 cpu_checksum(const CpuBaseline& cpu, u32 count);

// What EventKind::guest_panicked tells.
enum class PanicCause : u64 { pvpanic, triple_fault, watchdog };

// starting -> running <-> paused; running|paused -> resetting -> running; any -> stopped.
// "resetting" covers the first start too: boot 0 has not happened yet. A byte of the pool that goes
// wrong makes none of these another one, as they differ in all their bytes: whether the guest goes
// on after the loss of the whole machine hangs on them.
enum class Phase : u32 {
  resetting = 0,
  running = 0x1111'1111,
  paused = 0x2222'2222,
  stopped = 0x3333'3333
};
inline constexpr std::array kPhases = {Phase::resetting, Phase::running, Phase::paused,
                                       Phase::stopped};

// Why it stopped. After the last four the guest can be gone on with, if it is protected and its
// pool outlives its processes (resume_record.h).
enum class StopReason : u32 {
  none = 0,
  shutdown = 0x1111'1111,
  panic = 0x2222'2222,
  user = 0x3333'3333,
  error = 0x4444'4444,
  node_died = 0x5555'5555,
  launcher_died = 0x6666'6666,
  power_failed = 0x7777'7777,
};
inline constexpr std::array kStopReasons = {
    StopReason::none,  StopReason::shutdown,  StopReason::panic,         StopReason::user,
    StopReason::error, StopReason::node_died, StopReason::launcher_died, StopReason::power_failed};
constexpr bool leaves_a_way_on(StopReason reason) {
  return static_cast<u32>(reason) >= static_cast<u32>(StopReason::error);
}

inline constexpr u32 kFromCheckpoint = 4;  // MachineControl::resumed

struct MachineControl {
  std::atomic<Phase> phase;
  std::atomic<StopReason> stop_reason;
  std::atomic<u32> boots;        // resets carried out so far; the n-th boot runs while boots == n
  std::atomic<u32> boots_again;  // the same, stored after it and before the phase
  fabric::Doorbell changed;      // rung at every change that a waiter may wait for
  std::atomic<u64> reset_ns;     // CLOCK_MONOTONIC of the wish to reset; 0: it runs again
  std::atomic<u64> stopped_ns;   // ns from then until everybody stood still
  std::atomic<u64> reset_owner;  // who carries the reset out (fabric/claim.h)
  std::atomic<u64> power_button_presses;
  std::atomic<u64> tsc_offset;  // guest TSC = host TSC + this, on every node; set before they start
  std::atomic<u32> outlives;    // 1: the pool is still there when all processes are gone
  // 1 + ResumePoint, or kFromCheckpoint; 0: the guest began with these processes.
  std::atomic<u32> resumed;
  // The power of the whole machine fails: each vCPU leaves the guest and its state in the pool.
  std::atomic<u32> power_fails;
  std::atomic<u64> power_fails_ns;  // CLOCK_MONOTONIC: since when
  // By vCPU: it has. The last one stops the machine.
  std::array<std::atomic<u32>, layout::kMaxVcpus> saved;
  // A checkpoint is being taken (checkpoint/stand_still.h): its number, from 1; 0: none is. By
  // vCPU: for which one it stands still, with its state in `vcpu_states`.
  std::atomic<u32> checkpoint;
  std::atomic<u32> checkpoints;  // the last one's number
  std::array<std::atomic<u32>, layout::kMaxVcpus> stands;
};

// Where a vCPU is. in_guest and halted tell a sender how to reach it.
enum class VcpuRunState : u32 { absent, outside, in_guest, halted, wait_sipi, parked };

// Written by the vCPU's thread only (halts that KVM counts: by its node's main one); read by
// anyone, for people.
struct VcpuCounters {
  std::array<u64, 64> exits{};  // by KVM exit reason
  u64 signal_exits = 0;         // KVM_RUN interrupted: kicks and timers
  u64 injected = 0;
  u64 kicks_sent = 0;
  u64 halts = 0;
  u64 eoi_writes = 0;
  u64 icr_writes = 0;
  u64 timer_writes = 0;
  u64 other_msrs = 0;
};

// The last move's instants (CLOCK_MONOTONIC, ns), the sum of all pauses, and whether the move has
// been logged. Written by the vCPU's thread, the source's and then the target's, for people.
struct VcpuMove {
  std::atomic<u64> begun;      // out of the guest for it
  std::atomic<u64> completed;  // of the exit before, all is done
  std::atomic<u64> saved;      // read from KVM
  std::atomic<u64> committed;
  std::atomic<u64> woken;    // the target's thread
  std::atomic<u64> checked;  // state copied from the pool and looked at
  std::atomic<u64> loaded;   // into KVM
  std::atomic<u64> entered;  // about to be in the guest again, or asleep
  std::atomic<u64> pause_sum;
  std::atomic<u32> from;
  std::atomic<u32> untold;  // 1: not logged yet
};

struct alignas(64) VcpuRecord {
  LapicInbox inbox;
  fabric::Doorbell bell;
  std::atomic<VcpuRunState> run_state;
  fabric::Doorbell arrival;  // rung when there is news for the threads that wait for it to come
  std::atomic<u64> place;    // vcpu_place.h
  std::atomic<i32> pid;      // of the thread that runs it: where kicks go
  std::atomic<i32> tid;
  std::atomic<u32> started;             // has been through SIPI (or is the bootstrap vCPU)
  std::atomic<u32> interruptible_halt;  // RFLAGS.IF at HLT
  std::atomic<u32> halted_in_kvm;       // as of the node's last beat; means something in_guest only
  alignas(64) LapicState lapic;
  KvmClockState clock;
  VcpuCounters counters;
  VcpuImage image;
  VcpuMove move;
  VcpuJournal journal;

  VcpuPlace where() const { return VcpuPlace::unpack(place.load(std::memory_order_seq_cst)); }
  u32 node() const { return where().node; }
};

// For people: where it is, of one that KVM has wait in a HLT too.
inline VcpuRunState seen_run_state(const VcpuRecord& v) {
  const VcpuRunState state = v.run_state.load();
  return state == VcpuRunState::in_guest && v.halted_in_kvm.load() != 0 ? VcpuRunState::halted
                                                                        : state;
}

// A node's part in the machine. none -> starting -> active -> emptying -> empty -> leaving -> none.
// Written by the launcher, but for starting -> active and emptying -> empty, which are the node's.
// What dies stays where it was; its instance tells.
enum class NodeStage : u32 {
  none,      // not in the machine
  starting,  // its process is on its way
  active,
  emptying,  // gets no vCPU any more; gives up what it has once it has none
  empty,     // runs nothing, serves nothing, holds nothing
  leaving,   // ends its process
};

struct alignas(64) NodeRecord {
  fabric::Doorbell bell;            // wakes the node's service thread
  std::atomic<u32> ready_for_boot;  // n: torn down, and waiting for boot n
  std::atomic<NodeStage> stage;
  std::atomic<u32> power_fails;  // SIGPWR: its vCPUs go to others at once, and it leaves
  // Processes of this number and a generation below this one have nothing in flight at servers of
  // disks, which were ended and started anew since. By the launcher.
  std::atomic<u32> servers_fenced;
};

// Console bytes on their way out: byte n is in data[n % kBytes] and is there once the serial port's
// published tx_count, or the virtio console's QueueState::moved, is above n. `consumed` is moved on
// by the console's owner only.
struct ConsoleOut {
  static constexpr u64 kBytes = 64 * kKiB;
  std::atomic<u64> consumed;
  fabric::Doorbell produced;
  std::atomic<u32> writer_waits;  // the guest was told "not ready": tell it when there is room
  std::atomic<u32> reader_waits;  // input is held back: ring `produced` when the guest has read
  u32 reserved;
  std::array<char, kBytes> data;
};

// The firmware's log on its way out: byte n is in data[n % kBytes].
struct FirmwareLog {
  static constexpr u64 kBytes = 64 * kKiB;
  std::atomic<u64> consumed;  // moved on by the console's owner only
  std::array<char, kBytes> data;
};

struct PciConfigAddress {
  u32 value = 0;  // port 0xcf8
};

struct MachineState {
  MachineConfig config;
  alignas(64) MachineControl control;
  CpuBaseline cpu;
  EntryState entry;  // how vCPU 0 enters the kernel; written by the reset, before "running"
  std::array<NodeRecord, layout::kMaxNodes> nodes;
  std::array<VcpuRecord, layout::kMaxVcpus> vcpus;

  DeviceCell<IoApicState> ioapic;
  DeviceCell<SerialState> serial;
  DeviceCell<RtcState> rtc;
  DeviceCell<PitState> pit;
  DeviceCell<AcpiPmState> pm;
  DeviceCell<I8042State> i8042;
  DeviceCell<ResetPortState> reset_port;
  DeviceCell<PciConfigAddress> pci_address;
  DeviceCell<ConfigSpace> host_bridge;
  std::array<VirtioFunction, kMaxFunctions> functions;
  ConsoleOut console;

  // With firmware only (machine_firmware.cc).
  DeviceCell<PicState> pic;
  DeviceCell<FwCfgState> fw_cfg;
  DeviceCell<DebugPortState> debug_port;
  FirmwareLog firmware_log;
  NetRecord net;

  ConsoleOut virtio_console;  // machine_hvc.cc
  BalloonRecord balloon;      // machine_balloon.cc
  DebugRecord debug;
  std::array<VcpuDebug, layout::kMaxVcpus> debug_vcpus;
  DeviceCell<ErrorSourceState> error_source;
  DeviceCell<WatchdogState> watchdog;                    // machine_watchdog.cc
  DeviceCell<GenerationIdState> generation;              // machine_generation.cc
  std::array<VcpuState, layout::kMaxVcpus> vcpu_states;  // of those on their way, and saved
  std::array<KeeperRecord, layout::kMaxNodes> keepers;
};

// What never changes again by its checksum, what does by its range.
Status check_record(const MachineState& machine, const fabric::RecordPlace& place);
Status check_cpu(const CpuBaseline& cpu, const fabric::RecordPlace& place);

}  // namespace dvm::vmm
