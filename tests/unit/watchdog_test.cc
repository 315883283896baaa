#include "vmm/devices/watchdog.h"

#include <gtest/gtest.h>

namespace dvm::vmm {
namespace {

using namespace watchdog;

constexpr u64 kSecond = 1'000'000'000;

struct WatchdogTest : testing::Test {
  WatchdogState state;
  DeviceEnv env{.now_ns = 5 * kSecond};
  void write(u16 offset, u8 size, u32 value) { watchdog_write(state, offset, size, value, env); }
  u32 read(u16 offset, u8 size) const { return watchdog_read(state, offset, size, env); }
};

TEST_F(WatchdogTest, ExpiresWhenNobodyPings) {
  EXPECT_FALSE(watchdog_next_deadline(state));
  write(kCount, 2, 30);
  write(kRun, 1, 1);
  EXPECT_EQ(watchdog_next_deadline(state), 8 * kSecond);
  EXPECT_EQ(read(kLeft, 2), 30u);
  env.now_ns = 7 * kSecond;
  EXPECT_EQ(read(kLeft, 2), 10u);
  write(kPing, 1, 1);
  EXPECT_EQ(read(kLeft, 2), 30u);
  env.now_ns = 10 * kSecond - 1;
  EXPECT_FALSE(watchdog_expired(state, env));
  env.now_ns = 10 * kSecond;
  EXPECT_TRUE(watchdog_expired(state, env));
  EXPECT_EQ(read(kLeft, 2), 0u);
}

TEST_F(WatchdogTest, OneThatIsStoppedDoesNot) {
  write(kRun, 1, 1);
  EXPECT_EQ(read(kRun, 1), 1u);
  write(kRun, 1, 0);
  env.now_ns = 10'000 * kSecond;
  EXPECT_FALSE(watchdog_expired(state, env));
  EXPECT_EQ(read(kLeft, 2), read(kCount, 2));
}

TEST_F(WatchdogTest, TellsAfterTheResetThatItWasItsDoing) {
  write(kRun, 1, 1);
  watchdog_reset(state, env);
  EXPECT_EQ(read(kStatus, 1), 0u) << "another reset";
  write(kRun, 1, 1);
  env.now_ns = *watchdog_next_deadline(state);
  watchdog_reset(state, env);
  EXPECT_EQ(read(kStatus, 1), 1u);
  EXPECT_FALSE(watchdog_next_deadline(state));
  write(kStatus, 1, 0);
  EXPECT_EQ(read(kStatus, 1), 1u);
  write(kStatus, 1, 1);
  EXPECT_EQ(read(kStatus, 1), 0u);
}

TEST_F(WatchdogTest, TakesAnyAccess) {
  write(kCount, 2, 0);
  EXPECT_EQ(read(kCount, 2), kMinCount);
  write(kCount, 2, 0xffff);
  EXPECT_EQ(read(kCount, 2), kMaxCount);
  const WatchdogState before = state;
  for (u16 offset = 0; offset < kBytes; ++offset) {
    for (const u8 size : {u8{1}, u8{2}, u8{4}}) {
      if (size == (offset == kCount ? 2 : 1) && offset != kLeft) continue;  // its own
      write(offset, size, 0xffff'ffff);
      EXPECT_EQ(read(kCount, 2), before.count) << offset << " " << +size;
    }
  }
  EXPECT_EQ(read(kCount, 1), 0xffu);
  EXPECT_EQ(read(kCount, 4), 0xffff'ffffu);
}

}  // namespace
}  // namespace dvm::vmm
