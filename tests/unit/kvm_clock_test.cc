// KVM's paravirtual clock, computed as a guest does.
#include "vmm/kvm_clock.h"

#include <gtest/gtest.h>

namespace dvm::vmm {
namespace {

// Linux arch/x86/include/asm/pvclock.h, pvclock_scale_delta.
u64 guest_ns(const PvclockTime& time, u64 tsc) {
  u64 delta = tsc - time.tsc_timestamp;
  delta = time.tsc_shift < 0 ? delta >> -time.tsc_shift : delta << time.tsc_shift;
  return time.system_time +
         static_cast<u64>((static_cast<u128>(delta) * time.tsc_to_system_mul) >> 32);
}

// Linux arch/x86/kernel/pvclock.c, pvclock_tsc_khz.
u64 guest_khz(const PvclockTime& time) {
  u64 khz = (1'000'000ull << 32) / time.tsc_to_system_mul;
  return time.tsc_shift < 0 ? khz << -time.tsc_shift : khz >> time.tsc_shift;
}

TEST(KvmClock, RunsAsTheTscDoes) {
  for (const u64 khz : {500'000ull, 999'999ull, 1'000'000ull, 1'000'001ull, 2'000'000ull,
                        2'345'678ull, 3'999'999ull, 4'000'000ull, 8'123'457ull}) {
    const PvclockTime time = pvclock_time(khz);
    EXPECT_EQ(time.version % 2, 0u);
    EXPECT_GE(time.tsc_to_system_mul, 1u << 31) << "no bit is wasted";
    EXPECT_NEAR(static_cast<double>(guest_khz(time)), static_cast<double>(khz), 1) << khz;
    for (const u64 seconds : {1ull, 3600ull, 86400ull * 365}) {
      const auto expected = static_cast<double>(seconds) * 1e9;
      EXPECT_NEAR(static_cast<double>(guest_ns(time, seconds * khz * 1000)), expected,
                  expected * 1e-9 + 8)
          << khz;
    }
  }
}

TEST(KvmClock, WallClockIsThatOfSystemTimeZero) {
  const PvclockWall wall = pvclock_wall(1'700'000'000'250'000'000, 1'500'000'000);
  EXPECT_EQ(wall.seconds, 1'699'999'998u);
  EXPECT_EQ(wall.nanoseconds, 750'000'000u);
}

}  // namespace
}  // namespace dvm::vmm
