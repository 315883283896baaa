// A watchdog timer: a guest that has started it and does not ping it in time is taken for hung.
// Linux finds it by the ACPI table WDAT (vmm/acpi/wdat.h), which says what to read and write where;
// so the registers are our own, and its driver is wdat_wdt. "Hardware Watchdog Timers Design
// Specification", Microsoft, 2006.
#pragma once

#include <optional>
#include <type_traits>

#include "vmm/effects.h"

namespace dvm::vmm {

namespace watchdog {

// Registers, from the first port on.
inline constexpr u16 kCount = 0;   // 2 bytes, periods from a ping on
inline constexpr u16 kLeft = 2;    // 2 bytes, of these; read only
inline constexpr u16 kPing = 4;    // write only
inline constexpr u16 kRun = 5;     // bit 0
inline constexpr u16 kStatus = 6;  // bit 0: the last reset was its doing; a 1 written clears it
inline constexpr u16 kBytes = 8;

inline constexpr u32 kPeriodMs = 100;
inline constexpr u16 kMinCount = 10, kMaxCount = 0x7fff;  // 1 s to 54 min

}  // namespace watchdog

struct WatchdogState {
  u64 deadline_ns = 0;  // guest time; of one that runs
  u16 count = 600;
  u8 running = 0;
  u8 fired = 0;
  u32 reserved = 0;
};
static_assert(sizeof(WatchdogState) == 16 && std::is_trivially_copyable_v<WatchdogState>);

u32 watchdog_read(const WatchdogState& state, u16 offset, u8 size, const DeviceEnv& env);
void watchdog_write(WatchdogState& state, u16 offset, u8 size, u32 value, const DeviceEnv& env);
// Guest time, ns. Nothing: it does not run.
std::optional<u64> watchdog_next_deadline(const WatchdogState& state);
// Nobody pinged it: the guest is to be reset. It stays so until watchdog_reset.
bool watchdog_expired(const WatchdogState& state, const DeviceEnv& env);
// With the machine: it stands still, and remembers whether that was its doing.
void watchdog_reset(WatchdogState& state, const DeviceEnv& env);

}  // namespace dvm::vmm
