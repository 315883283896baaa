#include "vmm/devices/acpi_pm.h"

#include <algorithm>

namespace dvm::vmm {

using namespace acpi_pm;

namespace {

constexpr u8 kMaxAccess = 4;

u16 register_at(const AcpiPmState& state, u32 offset) {
  switch (offset & ~1u) {
    case kStatus: return state.status;
    case kEnable: return state.enable;
    case kControl: return state.control;
    default: return 0xffff;
  }
}

// `written` tells which bits the access reaches.
void write_control(AcpiPmState& state, u16 value, u16 written, Effects& effects) {
  const u16 stored = kSleepTypeMask & written;
  state.control = static_cast<u16>((state.control & ~stored) | (value & stored));
  if ((value & written & kSleepEnable) == 0) return;
  if ((state.control & kSleepTypeMask) >> kSleepTypeShift == kSleepTypeS5) {
    effects.power = PowerRequest::shutdown;
  } else {
    state.status |= kWake;  // a sleep state we do not have ends at once: the guest waits for this
  }
}

void write_register(AcpiPmState& state, u32 offset, u16 value, u16 written, Effects& effects) {
  constexpr u16 kEnableMask = kEvents | kPcieWakeDisable;
  switch (offset) {
    case kStatus: state.status &= static_cast<u16>(~(value & written)); break;
    case kEnable:
      state.enable =
          static_cast<u16>(((state.enable & ~written) | (value & written)) & kEnableMask);
      break;
    case kControl: write_control(state, value, written, effects); break;
    default: break;
  }
}

}  // namespace

u32 acpi_pm_read(const AcpiPmState& state, u16 offset, u8 size) {
  u32 value = 0;
  for (u32 i = 0; i < std::min(size, kMaxAccess); ++i) {
    const u32 at = offset + i;
    const u32 byte = register_at(state, at) >> (at % 2 * 8) & 0xff;
    value |= byte << (i * 8);
  }
  return value;
}

void acpi_pm_write(AcpiPmState& state, u16 offset, u8 size, u32 value, Effects& effects) {
  const u32 end = offset + u32{std::min(size, kMaxAccess)};
  for (u32 at = offset; at < end;) {
    const u32 reg = at & ~1u;
    const u32 count = std::min(end, reg + 2) - at;  // bytes of this register
    const u32 shift = (at - reg) * 8;
    const u32 mask = ((1u << (count * 8)) - 1) << shift;
    write_register(state, reg, static_cast<u16>(value >> ((at - offset) * 8) << shift),
                   static_cast<u16>(mask), effects);
    at += count;
  }
}

void acpi_press_power_button(AcpiPmState& state) { state.status |= kPowerButton; }

bool acpi_irq(const AcpiPmState& state) { return (state.status & state.enable & kEvents) != 0; }

}  // namespace dvm::vmm
