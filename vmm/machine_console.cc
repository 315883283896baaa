// The serial console between the guest's UART and the launcher, and the device timers.
#include <algorithm>
#include <ctime>

#include "vmm/epoch_record.h"
#include "vmm/machine_steps.h"

namespace dvm::vmm {
namespace {

// Bytes the guest may send before the ring is full.
u64 room(const SerialState& s, const ConsoleOut& out) {
  const u64 waiting = s.tx_count - out.consumed.load(std::memory_order_seq_cst);
  return ConsoleOut::kBytes - std::min(waiting, ConsoleOut::kBytes);
}

}  // namespace

DeviceEnv Machine::env() const { return {now_ns(), static_cast<i64>(::time(nullptr))}; }

PvclockWall Machine::wall_clock() const {
  timespec wall{};
  ::clock_gettime(CLOCK_REALTIME, &wall);
  return pvclock_wall(
      static_cast<u64>(wall.tv_sec) * 1'000'000'000 + static_cast<u64>(wall.tv_nsec), now_ns());
}

// `s` is the serial port's state within its step.
DeviceEnv Machine::serial_env(const SerialState& s) const {
  DeviceEnv now = env();
  now.tx_ready = room(s, state_->console) >= serial::kTransmitBurst;
  return now;
}

u8 Machine::serial_port_read(u16 offset) {
  struct Answer {
    u8 value;
    bool waits;  // a line status that says "not ready" is a promise to tell when it is
  };
  const Answer answer = step(state_->serial, kSerialLine, serial_irq, [&](SerialState& s) {
    const u8 value = serial_read(s, offset, serial_env(s));
    return Answer{value, serial_tx_waiting(s)};
  });
  if (answer.waits) wait_for_console();
  // The launcher holds input back while the FIFO is full.
  if (offset == serial::kData && state_->console.reader_waits.exchange(0) != 0)
    fabric::ring(state_->console.produced);
  return answer.value;
}

void Machine::serial_port_write(u16 offset, u8 value) {
  ConsoleOut& out = state_->console;
  struct Answer {
    bool sent;
    bool waits;
  };
  const Answer answer = step(state_->serial, kSerialLine, serial_irq, [&](SerialState& s) {
    Effects effects;
    serial_write(s, offset, value, serial_env(s), effects);
    // Byte n goes to its slot before the state that counts it is published: a step done again after
    // a death writes the same byte to the same slot.
    if (effects.tx) {
      out.data[(s.tx_count - 1) % ConsoleOut::kBytes] = static_cast<char>(*effects.tx);
    }
    return Answer{effects.tx.has_value(), serial_tx_waiting(s)};
  });
  if (answer.waits) wait_for_console();
  if (answer.sent) fabric::ring(out.produced);
}

// Either the console's reader sees that the guest waits, or we see what it has read.
void Machine::wait_for_console() {
  state_->console.writer_waits.store(1);
  drain_serial();
}

// Tells a guest that waits, if there is room for a burst. Room for less is none: a driver that goes
// by the interrupt alone fills the whole FIFO.
void Machine::drain_serial() {
  ConsoleOut& out = state_->console;
  step(state_->serial, kSerialLine, serial_irq, [&](SerialState& s) {
    if (room(s, out) < serial::kTransmitBurst) return;
    out.writer_waits.store(0);
    serial_tx_drained(s);
  });
}

u64 Machine::released(u64 produced, std::atomic<u64> EpochRecord::*out) const {
  return holds_output(epoch_, state_->control) ? std::min(produced, (epoch_->*out).load())
                                               : produced;
}

std::size_t Machine::console_output(std::span<char> to) {
  ConsoleOut& out = state_->console;
  const u64 first = out.consumed.load(std::memory_order_relaxed);
  // Not without the lock: a step counts a byte before the byte is in its slot.
  const u64 produced = step(state_->serial, kSerialLine, serial_irq,
                            [](const SerialState& s) { return s.tx_count; });
  const u64 may = released(produced, &EpochRecord::serial_out);
  const std::size_t n = std::min<u64>(to.size(), may > first ? may - first : 0);
  for (std::size_t i = 0; i < n; ++i) to[i] = out.data[(first + i) % ConsoleOut::kBytes];
  out.consumed.store(first + n, std::memory_order_seq_cst);
  if (n != 0 && out.writer_waits.load() != 0) drain_serial();
  return n;
}

std::size_t Machine::console_input(std::span<const char> from) {
  return step(state_->serial, kSerialLine, serial_irq, [&](SerialState& s) {
    const std::size_t n = std::min(from.size(), serial_rx_room(s));
    for (std::size_t i = 0; i < n; ++i) serial_receive(s, static_cast<u8>(from[i]));
    return n;
  });
}

void Machine::press_power_button() {
  log_event(fabric::EventKind::power_button);
  step(state_->pm, kSciLine, acpi_irq, [](AcpiPmState& s) { acpi_press_power_button(s); });
}

// --- device timers -------------------------------------------------------------------------------

void Machine::wake_timer_node() {
  const u32 node = state_->vcpus[0].node();
  if (node < layout::kMaxNodes) fabric::ring(state_->nodes[node].bell);
}

void Machine::run_device_timers() {
  if (config().watchdog != 0) run_watchdog();
  step(state_->rtc, kRtcLine, rtc_irq, [&](RtcState& s) { rtc_on_timer(s, env()); });
  VcpuSet changed = 0;
  {
    const CellGuard guard(state_->pit, *this);
    const bool due = publish_step(state_->pit, [&](PitState& s) { return pit_take_irq(s, env()); });
    fabric::failpoint("device.pit_taken");
    if (due || guard.result().from_dead()) changed = pulse_pit();
  }
  kick_all(changed, std::nullopt);
}

// An edge: up and down again. The caller has the PIT's lock.
VcpuSet Machine::pulse_pit() {
  const VcpuSet up = drive_line(kPitLine.pin, kPitLine.source, true);
  return up | drive_line(kPitLine.pin, kPitLine.source, false);
}

void Machine::mend_devices() {
  const auto nothing = [](auto&) {};
  step(state_->serial, kSerialLine, serial_irq, nothing);
  step(state_->rtc, kRtcLine, rtc_irq, nothing);
  step(state_->pm, kSciLine, acpi_irq, nothing);
  step_pit(nothing);
  for (u32 i = 0; i < kMaxFunctions; ++i) mend_function(i);
  step(state_->i8042, nothing);
  step(state_->reset_port, nothing);
  step(state_->watchdog, nothing);
  step(state_->pci_address, nothing);
  step(state_->host_bridge, nothing);
  step(state_->fw_cfg, nothing);
  step(state_->debug_port, nothing);
  change_pic(nothing);
  kick_all(step_ioapic([](auto&) { return IoApicMessages{}; }), std::nullopt);
  ring_everyone();
  fabric::ring(state_->console.produced);
  fabric::ring(state_->virtio_console.produced);
}

std::optional<u64> Machine::next_device_deadline() {
  const DeviceEnv now = env();
  auto next = step(state_->rtc, kRtcLine, rtc_irq,
                   [&](const RtcState& s) { return rtc_next_deadline(s, now); });
  const auto sooner = [&next](std::optional<u64> other) {
    if (other && (!next || *other < *next)) next = other;
  };
  if (config().watchdog != 0) sooner(next_watchdog_deadline());
  // Nobody hears a pulse on a masked pin, so no need to wake for it.
  const bool pit_masked = read_ioapic(
      [](const IoApicState& s) { return (s.redirection[layout::kPitGsi] & (1u << 16)) != 0; });
  if (!pit_masked || pic_hears_timer())
    sooner(step_pit([&](const PitState& s) { return pit_next_deadline(s, now); }));
  return next;
}

}  // namespace dvm::vmm
