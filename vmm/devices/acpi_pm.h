// ACPI's fixed power management registers: the power button, sleep states, the SCI.
// "Advanced Configuration and Power Interface Specification", version 6.5, §4.8.3.
#pragma once

#include <type_traits>

#include "vmm/effects.h"

namespace dvm::vmm {

namespace acpi_pm {

// Offsets of the 16-bit registers: the PM1a event block (two registers) and the control block.
inline constexpr u16 kStatus = 0;
inline constexpr u16 kEnable = 2;
inline constexpr u16 kControl = 4;
inline constexpr u16 kBytes = 6;

// Status (§4.8.3.1.1, written 1 to clear) and enable (§4.8.3.1.2), bit by bit alike.
inline constexpr u16 kTimer = 1 << 0;
inline constexpr u16 kGlobal = 1 << 5;
inline constexpr u16 kPowerButton = 1 << 8;
inline constexpr u16 kSleepButton = 1 << 9;
inline constexpr u16 kRtc = 1 << 10;
inline constexpr u16 kPcieWakeDisable = 1 << 14;
inline constexpr u16 kWake = 1 << 15;  // status only; raises no SCI
inline constexpr u16 kEvents = kTimer | kGlobal | kPowerButton | kSleepButton | kRtc;

// Control (§4.8.3.2.1).
inline constexpr u16 kSciEnable = 1 << 0;
inline constexpr u16 kSleepTypeShift = 10;
inline constexpr u16 kSleepTypeMask = 7 << kSleepTypeShift;
inline constexpr u16 kSleepEnable = 1 << 13;  // write only

// The SLP_TYP that the DSDT's \_S5 names. It names no other sleep state.
inline constexpr u16 kSleepTypeS5 = 5;

}  // namespace acpi_pm

// There is no SMM: ACPI mode is on from the start, and SCI_EN cannot be cleared.
struct AcpiPmState {
  u16 status = 0;
  u16 enable = 0;
  u16 control = acpi_pm::kSciEnable;
};
static_assert(sizeof(AcpiPmState) == 6);
static_assert(std::is_trivially_copyable_v<AcpiPmState>);

// Accesses of 1, 2 or 4 bytes from port 0x600 on, aligned or not. Bytes outside the registers read
// as ones and swallow what is written.
u32 acpi_pm_read(const AcpiPmState& state, u16 offset, u8 size);
void acpi_pm_write(AcpiPmState& state, u16 offset, u8 size, u32 value, Effects& effects);

void acpi_press_power_button(AcpiPmState& state);

// The level of the SCI.
bool acpi_irq(const AcpiPmState& state);

}  // namespace dvm::vmm
