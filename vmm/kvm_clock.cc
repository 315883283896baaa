#include "vmm/kvm_clock.h"

namespace dvm::vmm {

// ns per tick = ns/ticks * 2^shift, where the fraction is at least 1/2 and less than 1: all 32 bits
// of the factor count.
PvclockTime pvclock_time(u64 tsc_khz) {
  PvclockTime time;
  u128 ns = 1'000'000, ticks = tsc_khz;
  for (; ns * 2 < ticks; ns *= 2) --time.tsc_shift;
  for (; ns >= ticks; ticks *= 2) ++time.tsc_shift;
  time.tsc_to_system_mul = static_cast<u32>((ns << 32) / ticks);
  return time;
}

PvclockWall pvclock_wall(u64 wall_ns, u64 system_ns) {
  constexpr u64 kSecond = 1'000'000'000;
  const u64 then = wall_ns - system_ns;
  return {.seconds = static_cast<u32>(then / kSecond),
          .nanoseconds = static_cast<u32>(then % kSecond)};
}

}  // namespace dvm::vmm
