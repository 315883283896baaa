// Guest nanoseconds to ticks of a device's clock and back: exact, and without overflow.
#pragma once

#include "fabric/types.h"

namespace dvm::vmm {

inline constexpr u64 kNsPerSecond = 1'000'000'000;

// How many ticks of a clock of `hz` (at most 1 GHz) have passed at `ns`.
constexpr u64 ticks_at(u64 ns, u64 hz) {
  return ns / kNsPerSecond * hz + ns % kNsPerSecond * hz / kNsPerSecond;
}

// The first nanosecond at which ticks_at gives `tick`.
constexpr u64 ns_of_tick(u64 tick, u64 hz) {
  return tick / hz * kNsPerSecond + (tick % hz * kNsPerSecond + hz - 1) / hz;
}

}  // namespace dvm::vmm
