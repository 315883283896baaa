// One process's handle on the machine in the pool: every behaviour that needs no KVM. Nodes use it
// for their vCPUs' exits, the launcher for the console and for control.
//
// Threads: any, all functions. Lock order: one device cell, then the IOAPIC's; nothing blocks under
// a lock; doorbells are rung after release.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "fabric/event_log.h"
#include "fabric/fault_effects.h"
#include "fabric/pool.h"
#include "hyperkernel/guest_view.h"
#include "hyperkernel/page_origin.h"
#include "hyperkernel/page_release.h"
#include "srt/replica_table.h"
#include "vmm/machine_spec.h"
#include "vmm/pci/config_address.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/pci_transport.h"

namespace dvm::vmm {

struct EpochRecord;
struct ResumeRecord;
struct Line;
class QueueServer;

// The guest's two ways to a terminal: its 16550, and hvc0.
enum class ConsolePort { serial, virtio };

// One bit for each vCPU: those that have something new in their inbox and are to be kicked.
using VcpuSet = u64;
static_assert(layout::kMaxVcpus <= 64);

// A chain the device is done with, and how many bytes it wrote into it.
struct FinishedChain {
  u16 head;
  u32 bytes_written;
};

// Chains of one queue that a process had in hand which died, and its successor has now.
struct TakenOver {
  u32 generation = 0;  // of the set-up they belong to
  std::vector<u16> heads;
};

// Who sends an interrupt: a vCPU index, or none for devices.
using Sender = std::optional<u32>;

class Machine {
 public:
  // Makes the pool and the machine in it, at rest before its first boot.
  static Result<std::unique_ptr<Machine>> create(const MachineSpec& spec);
  // The pool alone, for who has more to put into it first.
  static Result<fabric::Pool> format(const MachineSpec& spec);
  // Opens the machine in a pool that `create` made; joins as instance `instance_id`.
  static Result<std::unique_ptr<Machine>> attach(fabric::Pool pool, u32 instance_id);

  fabric::Pool& pool() { return pool_; }
  MachineState& state() { return *state_; }
  const MachineState& state() const { return *state_; }
  const MachineConfig& config() const { return state_->config; }
  Status check_cpu_model() const;  // recorded, and as it was recorded
  // With software coherence, there is none before use_memory: whoever is no member of the protocol
  // (coherent_memory.h) sees no guest page.
  const hyperkernel::GuestMemory& memory() const {
    if (viewed_.load(std::memory_order_acquire) != state_->control.boots.load()) follow_boot();
    return view_.load(std::memory_order_acquire)->memory();
  }
  bool has_software_coherence() const { return pool_.has_region(fabric::RegionKind::coherence); }
  // `base`: where all of RAM is seen from now on. Before anything of the guest runs here, and with
  // nullptr after the last of it.
  void use_memory(std::byte* base);
  // --- RAM of other boots (machine_ram.cc)
  // --------------------------------------------------------
  bool has_ram_for_each_boot() const { return config().ram_places > 1; }
  // RAM for the boot to come, empty where each has its own. Caller: the one node that carries a
  // reset out.
  Result<const hyperkernel::GuestMemory*> renew_ram(u32 boot);
  // That of the boot that runs (its number's low 16 bits), or of the one before; nullptr: it is
  // gone.
  const hyperkernel::GuestMemory* ram_of(u16 boot) const;
  void release_before(u16 boot, u64 gpa);
  // Pages of any boot's go back to the pool's file; returns how many bytes.
  u64 release_ram(u32 boot, u64 gpa, u64 bytes);
  // nullptr: the machine has no replica table.
  srt::ReplicaTable* replicas() { return replicas_ ? &*replicas_ : nullptr; }

  bool has_firmware() const { return state_->config.firmware_bytes != 0; }
  // The frames behind the firmware's image (layout::kFirmwareWindow); no device reaches them.
  const hyperkernel::GuestMemory& rom() const { return rom_view_.memory(); }
  fabric::InstanceId self() const { return self_; }
  fabric::InstanceTable& instances() { return *instances_; }
  fabric::EventLog& events() { return *events_; }
  fabric::FaultBoard& faults() { return *place_.board; }
  fabric::HealthTable& health() { return *place_.health; }
  locality::LocalityRecord& locality() { return *locality_; }
  // With Protection::epoch; else nullptr.
  EpochRecord* epoch() const { return epoch_; }
  ResumeRecord& resume_record() const { return *resume_; }
  // For this process's part in fault injection (fabric/fault_injector.h).
  fabric::FaultPlace fault_place() const { return place_; }
  fabric::FaultHooks fault_hooks();
  void log_event(fabric::EventKind kind, std::array<u64, 3> arguments = {}) {
    fabric::append_event(*events_, self_, *instances_, kind, arguments);
  }

  // --- time (guest TSC and ns derived from it: the same on every node) -------------------------
  u64 guest_tsc() const;
  u64 now_ns() const;
  u64 tsc_to_monotonic_ns(u64 guest_tsc) const;  // for sleeping until a guest TSC value
  DeviceEnv env() const;
  PvclockWall wall_clock() const;
  LapicClock lapic_clock() const { return {guest_tsc(), state_->config.tsc_khz}; }

  // --- the bus (machine_bus.cc): what a vCPU's exit reaches -----------------------------------
  // `size` is 1, 2 or 4 for ports and 1..8 for MMIO. What nobody claims reads as all ones.
  u32 port_read(u16 port, u8 size);
  void port_write(u16 port, u8 size, u32 value);
  u64 mmio_read(u32 vcpu, u64 address, u8 size);
  void mmio_write(u32 vcpu, u64 address, u8 size, u64 value);

  // --- virtio (machine_virtio.cc)
  // ----------------------------------------------------------------- Who serves the queues of a
  // function in this process; the entropy device's are served anyway. Before the first vCPU runs,
  // and nullptr after the last one has stopped.
  void set_server(u32 function, QueueServer* server) { servers_[function] = server; }
  // A step of a queue: `process` takes chains and gives them back under the queue's lock, its state
  // is published, then the driver is shown what was given back and interrupted if it wants that,
  // or, with `again` (after a death), in any case. An error of `process`: the driver broke a rule.
  // False, and nothing done, unless the driver has the queue running. `process` may set `*put_off`:
  // then the driver is not interrupted, and the caller sees to interrupt_since.
  using Process = std::function<Status(QueueState&, const LiveQueue&)>;
  bool serve_queue(u32 function, u16 queue, bool again, const Process& process,
                   const bool* put_off = nullptr);
  // The interrupt that was put off, if the driver still wants one for what it has been shown from
  // used index `told` on.
  void interrupt_since(u32 function, u16 queue, u16 told);
  // All that is put off for the network's transmit queues (NetRecord::owed). Cheap if nothing is.
  void settle_transmits();
  // What the driver negotiated, and in which set-up of its.
  struct Driver {
    u64 features;
    u32 generation;
  };
  Driver driver_of(u32 function);
  // Gives back chains that were taken and held (queue_hold) under that generation of the set-up.
  void finish_chains(u32 function, u16 queue, u32 generation, std::span<const FinishedChain> done);
  // What the dead had in hand of that queue is this process's from now on (queue_hold), to be done
  // again; also when the driver wants the queue no more.
  TakenOver take_over_chains(u32 function, u16 queue);
  // Is a chain of any queue in hand, of the living or the dead? As long as one is, I/O on guest
  // memory may go on.
  bool any_in_flight();
  bool holds_chains(u32 instance_id);  // that process, or one that had its stable id
  // The driver broke a rule, which shows only now: its device asks to be reset.
  void fail_device(u32 function) { kick_all(fail_function(function), std::nullopt); }
  FunctionCounters& counters(u32 function) { return state_->functions[function].counters; }
  // The disk behind a block function has grown to `bytes`: for every node from now on, and the
  // driver is told. Precondition: no less than before, whole blocks; the file has them already.
  void grow_disk(u32 function, u64 bytes);
  // Changes what the driver reads of the device, and tells it.
  void change_device_config(u32 function, const std::function<void(VirtioPciState&)>& change);

  // --- interrupts (machine_irq.cc) ---------------------------------------------------------------
  void send(const InterruptMessage& message, Sender sender);
  void set_line(u8 pin, u8 source, bool high);
  void end_of_interrupt(u8 vector);  // a level-triggered vector ended at some local APIC
  void carry_out(const LapicAction& action, u32 vcpu);
  // The processor's answer to the 8259s: gives the vector to `inject`, if one still waits.
  Status acknowledge_pic(const std::function<Status(u8)>& inject);
  // Makes the vCPU look at its inbox, wherever it is.
  void kick(u32 vcpu, Sender sender);

  // --- device steps ------------------------------------------------------------------------------
  // Expiries of PIT, RTC and watchdog; the caller sleeps until next_device_deadline (guest ns).
  void run_device_timers();
  std::optional<u64> next_device_deadline();
  // After a death: completes the device steps that the dead one was in, and rings all that it may
  // not have come to ring. Any node, any number of times.
  void mend_devices();

  // --- console (machine_console.cc): the launcher's side
  // ------------------------------------------ Moves up to to.size() waiting output bytes out; 0
  // when none.
  std::size_t console_output(std::span<char> to);
  // Types `from` into the serial port; returns how many bytes it had room for.
  std::size_t console_input(std::span<const char> from);

  // The same for the console that is meant (machine_hvc.cc). What the driver of the virtio console
  // has no buffers for is not typed; `produced` rings when it has some, if reader_waits is set.
  std::size_t console_output(ConsolePort port, std::span<char> to);
  std::size_t console_input(ConsolePort port, std::span<const char> from);
  ConsoleOut& console_ring(ConsolePort port) {
    return port == ConsolePort::serial ? state_->console : state_->virtio_console;
  }
  bool has_virtio_console() const;
  // The terminal of the virtio console is that large from now on; the driver is told.
  void set_console_size(ConsoleSize size);

  // --- balloon (machine_balloon.cc)
  // --------------------------------------------------------------- The guest is asked to give up
  // `bytes` of its memory, and to take back what it has given beyond that. Precondition: there is a
  // balloon; whole pages, no more than its memory.
  void set_balloon(u64 bytes);
  u64 balloon_actual();          // bytes that the driver says it has given up
  void request_balloon_stats();  // the answer comes with the record's `changed`

  // Moves up to to.size() bytes of the firmware's log out; 0 when none. By the console's owner.
  std::size_t firmware_log_output(std::span<char> to);

  // --- control (machine_control.cc)
  // ----------------------------------------------------------------
  void request_reset();                  // running or paused -> resetting
  void request_stop(StopReason reason);  // any -> stopped; the first reason stays
  // The power of the whole machine fails: vCPUs leave their states in the pool, the last one stops
  // the machine (resume_record.h). False: nobody would ever find them there.
  bool request_save();
  bool can_be_saved() const;
  bool request_pause();   // false unless running
  bool request_resume();  // false unless paused
  void press_power_button();
  void guest_panicked(
      PanicCause cause);  // resets or stops, as configured; an event tells the cause
  // Makes the guest's OS panic: a vCPU gets a double fault, which no OS goes on after. False: none
  // runs.
  bool panic_guest();
  // Tells the guest's OS that this page of its RAM has gone bad (vmm/devices/error_source.h).
  // False: not RAM, or the OS takes no such reports and the queue is full. Told twice (by who
  // cannot know whether one that died had told), a page that the OS has taken stays as it is.
  bool report_bad_page(u64 gpa);
  ErrorSourceState bad_pages();
  // Another generation id, random. `announced`: the guest's OS runs, and is told.
  Status renew_generation(bool announced);
  bool is_ram(u64 gpa) const;
  bool all_parked() const;  // every vCPU of every node stands still
  void ring_everyone();
  void ring_nodes();
  // Of a node that may have been, or is, in the machine: its process has not ended.
  bool is_alive(u32 node) const;
  bool takes_vcpus(u32 node) const;

  // --- a debugger (machine_debug.cc, vmm/debug_record.h)
  // ------------------------------------------ What the stub changed in the record takes effect: no
  // vCPU goes on without it.
  void debug_changed();
  bool is_debug_breakpoint(u64 address) const;  // an INT3 of the debugger's
  // The vCPU has met what it was to watch for: the machine pauses. The first one counts.
  void debug_stop(u32 vcpu, u32 dr6);

  // The guest stood still, and could not ping it.
  void rearm_watchdog();
  // Sets all device state to power-on values. Caller: the one node that carries a reset out.
  void reset_devices();

 private:
  Machine() = default;
  u32 watchdog_port_read(u16 offset, u8 size);
  void watchdog_port_write(u16 offset, u8 size, u32 value);
  std::optional<u64> next_watchdog_deadline();
  void run_watchdog();
  Status open(fabric::Pool pool);
  Result<const hyperkernel::GuestView*> view_of(u32 boot) const;
  void follow_boot() const;
  Status open_firmware(const hyperkernel::PageDirectory& directory);
  Status open_origin();
  static Result<fabric::Pool> make_pool(const MachineSpec& spec, const srt::ReplicaSize& replicas);
  static Status lay_out_pages(const fabric::Pool& pool, const MachineSpec& spec,
                              hyperkernel::PageDirectory& directory);

  template <typename T>
  class CellGuard;
  template <typename T, typename Step>
  auto step(DeviceCell<T>& cell, Step&& fn);
  template <typename T, typename Look>
  auto look(DeviceCell<T>& cell, Look&& fn);
  template <typename T, typename Level, typename Step>
  auto step(DeviceCell<T>& cell, Line line, Level&& level, Step&& fn);
  template <typename Step>
  VcpuSet step_ioapic(Step&& fn);
  template <typename Read>
  auto read_ioapic(Read&& fn);
  template <typename Step>
  auto step_pit(Step&& fn);
  template <typename Read>
  auto read_function(u32 function, Read&& fn);
  // Returns who is to be kicked, and what `fn` answers.
  struct PicAnswer {
    VcpuSet kicked;
    u8 value;
  };
  PicAnswer step_pic(const std::function<u8(PicState&)>& fn);
  void change_pic(const std::function<void(PicState&)>& fn);
  VcpuSet drive_pic(u8 pin, bool high);
  bool pic_hears_timer();
  std::optional<u32> firmware_port_read(u16 port, u8 size);
  bool firmware_port_write(u16 port, u8 size, u32 value);
  u8 firmware_port_read_byte(u16 port);
  void firmware_port_write_byte(u16 port, u8 value);
  void debug_port_write(u8 value);
  void reset_firmware_devices();
  void write_function(u32 function,
                      const std::function<BarWriteResult(VirtioPciState&, Effects&)>& write);
  VcpuSet post_msi(const Msi& message);
  void wait_for_ioeventfds(u32 function);
  void serve_notified(u32 function, u16 queue, bool again);
  void serve_rng(u32 function, u16 queue, bool again);
  void serve_hvc(u32 function, u16 queue, bool again);
  bool transmit_hvc(u32 function, bool again);
  u64 hvc_moved(u32 function);
  void serve_balloon(u32 function, u16 queue, bool again);
  void serve_balloon_stats(u32 function, u16 queue, bool again);
  struct HeldPages;
  bool take_balloon_chain(u32 function, u16 queue, bool again, HeldPages& taken);
  u64 give_back(const std::vector<GuestRun>& runs, bool freed);
  std::optional<LiveQueue> live_queue(u32 function, u16 queue);
  VcpuSet raise_queue_interrupt(u32 function, u16 queue);
  VcpuSet fail_function(u32 function);
  VcpuSet step_function(u32 function, const std::function<void(VirtioPciState&, Effects&)>& change);
  bool in_flight(u32 function) const;
  void end_reset(u32 function);
  void reset_function(u32 function);
  void mend_function(u32 function);
  std::optional<u32> function_in_slot(u8 device) const;
  std::optional<u32> function_at(u64 address) const;
  void apply(PowerRequest request);
  VcpuSet drive_line(u8 pin, u8 source, bool high);
  VcpuSet pulse_pit();
  VcpuSet post_message(const InterruptMessage& message, Sender sender);
  VcpuSet post_messages(const IoApicMessages& messages);
  VcpuSet post_msis(const Effects& effects);
  void kick_all(VcpuSet vcpus, Sender sender);
  u32 port_read_byte(u16 port);
  void port_write_byte(u16 port, u8 value);
  void wake_timer_node();
  u32 pci_config_read(const ConfigAddress& at, u8 size);
  void pci_config_write(const ConfigAddress& at, u8 size, u32 value);
  u64 lapic_mmio_read(u32 vcpu, u64 offset, u8 size);
  void lapic_mmio_write(u32 vcpu, u64 offset, u8 size, u64 value);
  void serial_port_write(u16 offset, u8 value);
  u8 serial_port_read(u16 offset);
  DeviceEnv serial_env(const SerialState& s) const;
  // Of `produced` bytes, those that may leave: of epochs that have ended.
  u64 released(u64 produced, std::atomic<u64> EpochRecord::*out) const;
  void wait_for_console();
  void drain_serial();

  fabric::Pool pool_;
  MachineState* state_ = nullptr;
  fabric::InstanceTable* instances_ = nullptr;
  fabric::EventLog* events_ = nullptr;
  locality::LocalityRecord* locality_ = nullptr;
  EpochRecord* epoch_ = nullptr;
  ResumeRecord* resume_ = nullptr;
  fabric::FaultPlace place_;
  fabric::InstanceId self_;
  mutable std::mutex following_;  // for the next two
  // One for each place of RAM, mapped when it is first needed and never unmapped: who still looks
  // at the RAM of a boot that was meets what is left of it.
  mutable std::array<std::optional<hyperkernel::GuestView>, kMostRamPlaces> views_;
  mutable std::atomic<u32> viewed_ = 0;  // the boot whose RAM `view_` is of
  mutable std::atomic<const hyperkernel::GuestView*> view_ = nullptr;
  std::optional<srt::ReplicaTable> replicas_;
  // Of a guest whose RAM comes from where it was saved.
  std::optional<hyperkernel::OriginPages> origin_pages_;
  std::unique_ptr<hyperkernel::PageOrigin> origin_;  // ends before the views
  hyperkernel::GuestView rom_view_;                  // of nothing without firmware
  FwCfgContents fw_cfg_;
  std::array<QueueServer*, kMaxFunctions> servers_{};
  std::optional<hyperkernel::PageRelease> release_;
};

// What serves the queues of a device that needs more than the machine: a disk, a network.
class QueueServer {
 public:
  // The driver notified the queue, or, `again`, a process died that may have been serving it, and
  // what it had in hand is to be taken over. Threads: any.
  virtual void serve(u16 queue, bool again) = 0;

 protected:
  ~QueueServer() = default;
};

}  // namespace dvm::vmm
