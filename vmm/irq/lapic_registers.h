// Local APIC registers: numbers as in x2APIC (MSR - 0x800 = xAPIC offset / 16) and their bits.
// Intel SDM vol. 3A, table 11-1 and table 11-6.
#pragma once

#include "fabric/types.h"

namespace dvm::vmm {

enum LapicRegister : u32 {
  kRegId = 0x02,
  kRegVersion = 0x03,
  kRegTpr = 0x08,
  kRegPpr = 0x0a,
  kRegEoi = 0x0b,
  kRegLdr = 0x0d,
  kRegDfr = 0x0e,  // xAPIC only
  kRegSvr = 0x0f,
  kRegIsr = 0x10,  // 8 registers each
  kRegTmr = 0x18,
  kRegIrr = 0x20,
  kRegEsr = 0x28,
  kRegLvtCmci = 0x2f,
  kRegIcr = 0x30,
  kRegIcrHigh = 0x31,  // xAPIC only
  kRegLvtTimer = 0x32,
  kRegLvtLint0 = 0x35,
  kRegLvtError = 0x37,
  kRegTimerInitial = 0x38,
  kRegTimerCurrent = 0x39,
  kRegTimerDivide = 0x3e,
  kRegSelfIpi = 0x3f,  // x2APIC only
};

inline constexpr u32 kLapicVersion = 0x14 | (6u << 16);  // integrated, 7 LVT entries
inline constexpr u32 kSvrEnabled = 1u << 8;
inline constexpr u32 kLvtMasked = 1u << 16;
inline constexpr u32 kTimerModeShift = 17;
inline constexpr u32 kTimerOneShot = 0, kTimerPeriodic = 1, kTimerTscDeadline = 2;

inline constexpr u64 kApicBaseBootstrap = 1u << 8;
inline constexpr u64 kApicBaseX2 = 1u << 10;
inline constexpr u64 kApicBaseEnabled = 1u << 11;

inline constexpr u32 kMsrApicBase = 0x1b;
inline constexpr u32 kMsrTscDeadline = 0x6e0;
inline constexpr u32 kMsrX2ApicFirst = 0x800;
inline constexpr u32 kMsrX2ApicLast = 0x83f;
inline constexpr u32 kMsrKvmPvEoi = 0x4b56'4d04;

}  // namespace dvm::vmm
