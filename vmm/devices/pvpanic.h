// The port by which a guest tells that it has panicked.
// QEMU, docs/specs/pvpanic: one byte, "ISA interface". It keeps no state.
#pragma once

#include "vmm/effects.h"

namespace dvm::vmm {

namespace pvpanic {

inline constexpr u8 kPanicked = 0x01;
inline constexpr u8 kCrashLoaded = 0x02;  // the guest's own crash kernel takes over: not for us

}  // namespace pvpanic

// The events that may be reported.
inline u8 pvpanic_read() { return pvpanic::kPanicked | pvpanic::kCrashLoaded; }

inline void pvpanic_write(u8 value, Effects& effects) {
  if (value & pvpanic::kPanicked) effects.power = PowerRequest::panic;
}

}  // namespace dvm::vmm
