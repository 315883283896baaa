// What firmware needs and a directly booted kernel does not: the 8259s, fw_cfg, the debug port and
// port 0x92. Without firmware none of it is there.
#include <algorithm>

#include "vmm/epoch_record.h"
#include "vmm/machine_steps.h"

namespace dvm::vmm {
namespace {

constexpr u8 kPortA20 = 0x02, kPortAReset = 0x01;  // ICH9 datasheet, PORT92
constexpr u32 kBootstrap = 0;                      // the vCPU that the 8259s are wired to

constexpr bool in(u16 port, u16 first, u16 count) { return port >= first && port - first < count; }

}  // namespace

// --- 8259
// ------------------------------------------------------------------------------------------

// A step of the 8259s, and its output on the bootstrap vCPU's LINT0. Returns who is to be kicked.
// Comes after a device's lock, like the IOAPIC's, and never together with that.
Machine::PicAnswer Machine::step_pic(const std::function<u8(PicState&)>& fn) {
  const CellGuard guard(state_->pic, *this);
  bool done = false;
  const u8 value = publish_operation(state_->pic, fn, done);
  const u32 high = pic_output(state_->pic.published()) ? 1 : 0;
  const u32 before = state_->vcpus[kBootstrap].inbox.ext_int.exchange(high);
  const bool kick = high != 0 && (before == 0 || done || guard.result().from_dead());
  return {kick ? 1u << kBootstrap : 0, value};
}

void Machine::change_pic(const std::function<void(PicState&)>& fn) {
  const auto change = [&](PicState& s) {
    fn(s);
    return u8{0};
  };
  kick_all(step_pic(change).kicked, std::nullopt);
}

VcpuSet Machine::drive_pic(u8 pin, bool high) {
  // ISA interrupts keep their numbers at the IOAPIC, but for the timer's. Those of PCI come there
  // only: firmware polls its devices, and without an ISA bridge nothing routes them to an 8259.
  const u8 line = pin == layout::kPitGsi ? 0 : pin;
  if (line >= kPicLines) return 0;
  const auto set = [&](PicState& s) {
    pic_set_line(s, line, high);
    return u8{0};
  };
  return step_pic(set).kicked;
}

// Injected before the acknowledge is published: a node that dies in between leaves an interrupt
// that comes twice, not one in service that nobody ends.
Status Machine::acknowledge_pic(const std::function<Status(u8)>& inject) {
  Status injected;
  step_pic([&](PicState& s) {
    if (pic_output(s)) injected = inject(pic_acknowledge(s));
    return u8{0};
  });
  return injected;
}

bool Machine::pic_hears_timer() {
  return has_firmware() && look(state_->pic, [](const PicState& s) { return pic_hears(s, 0); });
}

// --- ports
// -----------------------------------------------------------------------------------------

std::optional<u32> Machine::firmware_port_read(u16 port, u8 size) {
  if (!has_firmware() || !in(port, layout::kFwCfgPort, fw_cfg::kPorts)) return std::nullopt;
  return step(state_->fw_cfg, [&](FwCfgState& s) {
    return fw_cfg_read(s, fw_cfg_, static_cast<u16>(port - layout::kFwCfgPort), size);
  });
}

bool Machine::firmware_port_write(u16 port, u8 size, u32 value) {
  if (!has_firmware() || !in(port, layout::kFwCfgPort, fw_cfg::kPorts)) return false;
  step(state_->fw_cfg, [&](FwCfgState& s) {
    const u16 offset = static_cast<u16>(port - layout::kFwCfgPort);
    fw_cfg_write(s, fw_cfg_, memory(), offset, size, value);
  });
  return true;
}

u8 Machine::firmware_port_read_byte(u16 port) {
  if (!has_firmware()) return 0xff;
  const u8 chip = port >= layout::kPic2Port ? 1 : 0;
  switch (port) {
    case layout::kPicPort:
    case layout::kPicPort + 1:
    case layout::kPic2Port:
    case layout::kPic2Port + 1:
      return step_pic([&](PicState& s) { return pic_read(s, chip, port & 1); }).value;
    case layout::kElcrPort:
    case layout::kElcrPort + 1:
      return look(state_->pic, [&](const PicState& s) { return pic_elcr_read(s, port & 1); });
    case layout::kPortA: return kPortA20;
    case layout::kDebugPort: return state_->config.firmware_log != 0 ? kDebugPortListens : 0xff;
    default: return 0xff;
  }
}

void Machine::firmware_port_write_byte(u16 port, u8 value) {
  if (!has_firmware()) return;
  const u8 chip = port >= layout::kPic2Port ? 1 : 0;
  switch (port) {
    case layout::kPicPort:
    case layout::kPicPort + 1:
    case layout::kPic2Port:
    case layout::kPic2Port + 1:
      change_pic([&](PicState& s) { pic_write(s, chip, port & 1, value); });
      return wake_timer_node();  // its input may be unmasked now
    case layout::kElcrPort:
    case layout::kElcrPort + 1:
      return change_pic([&](PicState& s) { pic_elcr_write(s, port & 1, value); });
    case layout::kPortA:
      if ((value & kPortAReset) != 0) request_reset();
      return;
    case layout::kDebugPort: return debug_port_write(value);
    default: return;
  }
}

// --- the firmware's log
// ------------------------------------------------------------------------------

void Machine::debug_port_write(u8 value) {
  FirmwareLog& log = state_->firmware_log;
  if (state_->config.firmware_log == 0) return;
  step(state_->debug_port, [&](DebugPortState& s) {
    if (s.written - log.consumed.load() >= FirmwareLog::kBytes) {
      ++s.lost;
    } else {
      log.data[s.written++ % FirmwareLog::kBytes] = static_cast<char>(value);
    }
  });
  // The same thread moves both on. A line at a time is soon enough.
  if (value == '\n') fabric::ring(state_->console.produced);
}

std::size_t Machine::firmware_log_output(std::span<char> to) {
  FirmwareLog& log = state_->firmware_log;
  const u64 first = log.consumed.load();
  const u64 written = look(state_->debug_port, [](const DebugPortState& s) { return s.written; });
  const u64 may = released(written, &EpochRecord::firmware_out);
  const std::size_t n = std::min<u64>(to.size(), may > first ? may - first : 0);
  for (std::size_t i = 0; i < n; ++i) to[i] = log.data[(first + i) % FirmwareLog::kBytes];
  log.consumed.store(first + n);
  return n;
}

// --- reset
// -----------------------------------------------------------------------------------------

void Machine::reset_firmware_devices() {
  change_pic([](PicState& s) { s = {}; });
  step(state_->fw_cfg, [](FwCfgState& s) { s = {}; });
  if (!has_firmware()) return;
  step(state_->rtc, kRtcLine, rtc_irq, [&](RtcState& s) { rtc_set_boot(s, state_->config.vcpus); });
}

}  // namespace dvm::vmm
