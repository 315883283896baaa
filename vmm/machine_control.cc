// The machine's life: start, pause, reset, stop. Whoever asks writes the wish into the pool and
// rings; the nodes carry it out.
#include <csignal>

#include "vmm/boot/e820.h"
#include "vmm/machine_steps.h"
#include "vmm/resume_record.h"

namespace dvm::vmm {

using fabric::EventKind;

namespace {

bool change_phase(MachineControl& control, Phase from, Phase to) {
  return control.phase.compare_exchange_strong(from, to);
}

}  // namespace

void Machine::ring_everyone() {
  fabric::ring(state_->control.changed);
  ring_nodes();
  for (u32 i = 0; i < state_->config.vcpus; ++i) {
    kick(i, std::nullopt);
    fabric::ring(state_->vcpus[i].arrival);
  }
}

void Machine::ring_nodes() {
  for (NodeRecord& node : state_->nodes) {
    if (node.stage.load() != NodeStage::none) fabric::ring(node.bell);
  }
}

bool Machine::is_alive(u32 node) const { return !instances_->has_ended(kFirstNodeInstance + node); }

bool Machine::takes_vcpus(u32 node) const {
  return node < layout::kMaxNodes && state_->nodes[node].stage.load() == NodeStage::active &&
         is_alive(node);
}

void Machine::request_reset() {
  MachineControl& control = state_->control;
  if (change_phase(control, Phase::running, Phase::resetting) ||
      change_phase(control, Phase::paused, Phase::resetting)) {
    control.reset_ns.store(fabric::monotonic_ns());
    ring_everyone();
  }
}

void Machine::request_stop(StopReason reason) {
  MachineControl& control = state_->control;
  StopReason none = StopReason::none;
  control.stop_reason.compare_exchange_strong(none, reason, std::memory_order_acq_rel);
  control.phase.store(Phase::stopped, std::memory_order_seq_cst);  // before the kicks look
  ring_everyone();
  fabric::ring(state_->console.produced);
  fabric::ring(state_->virtio_console.produced);
}

bool Machine::can_be_saved() const {
  return state_->control.outlives.load() != 0 && state_->config.protection != Protection::none &&
         !has_software_coherence();
}

bool Machine::request_save() {
  if (!can_be_saved()) return false;
  MachineControl& control = state_->control;
  if (control.power_fails.exchange(1) != 0) return true;
  control.power_fails_ns.store(fabric::monotonic_ns());
  resume_->paused.store(control.phase.load() == Phase::paused ? 1 : 0);
  ring_everyone();
  return true;
}

bool Machine::request_pause() {
  if (!change_phase(state_->control, Phase::running, Phase::paused)) return false;
  ring_everyone();
  log_event(EventKind::paused);
  return true;
}

bool Machine::request_resume() {
  if (state_->control.phase.load() == Phase::paused) rearm_watchdog();  // it could not be pinged
  if (!change_phase(state_->control, Phase::paused, Phase::running)) return false;
  ring_everyone();
  log_event(EventKind::resumed);
  return true;
}

void Machine::guest_panicked(PanicCause cause) {
  log_event(EventKind::guest_panicked, {static_cast<u64>(cause)});
  if (state_->config.exit_on_panic != 0) {
    request_stop(StopReason::panic);
  } else {
    request_reset();
  }
}

bool Machine::panic_guest() {
  if (state_->control.phase.load() != Phase::running) return false;
  for (u32 i = 0; i < state_->config.vcpus; ++i) {
    VcpuRecord& v = state_->vcpus[i];
    if (v.started.load() == 0 || v.run_state.load() == VcpuRunState::absent) continue;
    v.inbox.signals.fetch_or(kSignalPanic);
    kick(i, std::nullopt);
    return true;
  }
  return false;
}

fabric::FaultHooks Machine::fault_hooks() {
  return {.panic_guest = [this] { return panic_guest(); },
          .bad_page = [this](u64 gpa) { return report_bad_page(gpa); },
          .healed =
              [this] {
                ring_everyone();
                fabric::ring(state_->console.produced);
                fabric::ring(state_->virtio_console.produced);
              },
          .kill_survivors =
              [this](u32 id) {
                const u32 node = id - kFirstNodeInstance;
                if (node >= layout::kMaxNodes) return;
                const i32 keeper = state_->keepers[node].pid.load();
                if (keeper > 0) ::kill(keeper, SIGKILL);
              }};
}

bool Machine::all_parked() const {
  for (u32 i = 0; i < state_->config.vcpus; ++i) {
    const VcpuRunState s = state_->vcpus[i].run_state.load(std::memory_order_acquire);
    if (s != VcpuRunState::parked && s != VcpuRunState::absent) return false;
  }
  return true;
}

void Machine::reset_devices() {
  MachineState& s = *state_;
  // By steps like any other: the console's owner may type or press the power button meanwhile.
  step(s.ioapic, [](IoApicState& ioapic) { ioapic = ioapic_reset_state(); });
  step(s.serial, kSerialLine, serial_irq, [](SerialState& serial) {
    const u64 sent = serial.tx_count;  // the console's bytes go on being numbered
    serial = {};
    serial.tx_count = sent;
  });
  step(s.rtc, kRtcLine, rtc_irq, [&](RtcState& rtc) {
    rtc_reset(rtc);  // battery-backed: the clock and the RAM stay
    const u64 low = low_ram_end(s.config.memory_bytes);
    rtc_set_memory_size(rtc, low, s.config.memory_bytes - low);
  });
  step(s.pm, kSciLine, acpi_irq, [](AcpiPmState& pm) { pm = {}; });
  // Bad pages are repaired, as memory devices do when they start (CXL 3.0 §8.2.9.7.1, "PPR").
  step(s.error_source, kErrorSourceLine, error_source_irq,
       [](ErrorSourceState& source) { source = {}; });
  step(s.generation, kGenerationLine, generation_id_irq,
       [](GenerationIdState& generation) { generation.unread = 0; });
  for (u32 i = 0; i < kMaxFunctions; ++i) reset_function(i);
  step(s.pit, [](PitState& pit) { pit = {}; });
  step(s.i8042, [](I8042State& i8042) { i8042 = {}; });
  step(s.reset_port, [](ResetPortState& port) { port = {}; });
  step(s.watchdog, [&](WatchdogState& watchdog) { watchdog_reset(watchdog, env()); });
  step(s.pci_address, [](PciConfigAddress& address) { address = {}; });
  step(s.host_bridge, [](ConfigSpace& bridge) { bridge = make_host_bridge(); });
  reset_firmware_devices();
  for (u32 i = 0; i < s.config.vcpus; ++i) {
    // Nobody runs it: who had asked for a move is told, and one that was under way is at its end.
    take_step(s.vcpus[i].place, {.kind = PlaceStep::Kind::call_off, .refusal = MoveRefusal::reset});
    take_step(s.vcpus[i].place, {PlaceStep::Kind::arrived, s.vcpus[i].where().node});
    // A kernel that is booted directly is given x2APIC mode, as firmware might have; firmware
    // itself starts with what a processor has after reset.
    lapic_reset(s.vcpus[i].lapic, s.vcpus[i].inbox, i, i == 0, !has_firmware());
    s.vcpus[i].clock = {};
    s.vcpus[i].journal.phase.store(VcpuPhase::outside);
    s.vcpus[i].journal.halted.store(0);
    s.vcpus[i].started.store(i == 0 ? 1 : 0);
    s.vcpus[i].run_state.store(VcpuRunState::absent);
  }
}

}  // namespace dvm::vmm
