#include "vmm/devices/rtc.h"

#include <gtest/gtest.h>

#include <random>

#include "vmm/devices/ticks.h"

namespace dvm::vmm {
namespace {

using namespace rtc;

constexpr i64 kLeapDayEnd = 1'709'251'199;  // Thursday, 2024-02-29 23:59:59 UTC

class RtcTest : public ::testing::Test {
 protected:
  RtcTest() { env_.wall_seconds = kLeapDayEnd; }

  u8 read(u8 reg) {
    rtc_write(rtc_, 0, reg, env_);
    return rtc_read(rtc_, 1, env_);
  }
  void write(u8 reg, u8 value) {
    rtc_write(rtc_, 0, reg, env_);
    rtc_write(rtc_, 1, value, env_);
  }
  void pass(u64 ns) {
    const u64 before = env_.now_ns / kNsPerSecond;
    env_.now_ns += ns;
    env_.wall_seconds += static_cast<i64>(env_.now_ns / kNsPerSecond - before);
  }
  void pass_seconds(u64 seconds) { pass(seconds * kNsPerSecond); }
  void pass_until_deadline() {
    const auto due = rtc_next_deadline(rtc_, env_);
    ASSERT_TRUE(due);
    ASSERT_GT(*due, env_.now_ns);
    pass(*due - env_.now_ns - 1);
    rtc_on_timer(rtc_, env_);
    ASSERT_FALSE(rtc_irq(rtc_));
    pass(1);
    rtc_on_timer(rtc_, env_);
    ASSERT_TRUE(rtc_irq(rtc_));
  }
  void expect_time(u8 hours, u8 minutes, u8 seconds) {
    EXPECT_EQ(read(kHours), hours);
    EXPECT_EQ(read(kMinutes), minutes);
    EXPECT_EQ(read(kSeconds), seconds);
  }
  void expect_date(u8 century, u8 year, u8 month, u8 day) {
    EXPECT_EQ(read(kCentury), century);
    EXPECT_EQ(read(kYear), year);
    EXPECT_EQ(read(kMonth), month);
    EXPECT_EQ(read(kDayOfMonth), day);
  }

  RtcState rtc_;
  DeviceEnv env_;
};

TEST_F(RtcTest, ShowsTheHostsTimeInBcd) {
  expect_time(0x23, 0x59, 0x59);
  expect_date(0x20, 0x24, 0x02, 0x29);
  EXPECT_EQ(read(kDayOfWeek), 5);
  pass_seconds(1);
  expect_time(0, 0, 0);
  expect_date(0x20, 0x24, 0x03, 0x01);
  EXPECT_EQ(read(kDayOfWeek), 6);
}

TEST_F(RtcTest, BinaryAndTwelveHourModes) {
  write(kRegB, kBinary | k24Hours);
  expect_time(23, 59, 59);
  expect_date(20, 24, 2, 29);
  write(kRegB, 0);
  EXPECT_EQ(read(kHours), 0x11 | kHourPm);
  pass_seconds(1);
  EXPECT_EQ(read(kHours), 0x12);
  pass_seconds(12 * 3600);
  EXPECT_EQ(read(kHours), 0x12 | kHourPm);
}

TEST_F(RtcTest, IndexIsWriteOnlyAndItsTopBitIsNoAddress) {
  write(0x80 | 0x40, 0x77);
  EXPECT_EQ(read(0x40), 0x77);
  EXPECT_EQ(rtc_read(rtc_, 0, env_), 0xff);
}

TEST_F(RtcTest, RegistersCAndDAreReadOnly) {
  write(kRegC, 0xff);
  write(kRegD, 0);
  EXPECT_EQ(read(kRegC), 0);
  EXPECT_EQ(read(kRegD), kValidRamAndTime);
}

TEST_F(RtcTest, RegisterBSetHoldsTheTimeAndItsEndSetsIt) {
  write(kRegB, kSet | k24Hours);
  pass_seconds(100);
  expect_time(0x23, 0x59, 0x59);
  write(kCentury, 0x19);
  write(kYear, 0x99);
  write(kMonth, 0x12);
  write(kDayOfMonth, 0x31);
  write(kHours, 0x12);
  write(kMinutes, 0x34);
  write(kSeconds, 0x56);
  write(kRegB, k24Hours);
  expect_time(0x12, 0x34, 0x56);
  pass_seconds(12 * 3600);
  expect_time(0x00, 0x34, 0x56);
  expect_date(0x20, 0x00, 0x01, 0x01);
}

TEST_F(RtcTest, ARunningClockCanBeWrittenToo) {
  write(kHours, 0x05);
  expect_time(0x05, 0x59, 0x59);
  expect_date(0x20, 0x24, 0x02, 0x29);
}

TEST_F(RtcTest, FieldsOutOfRangeAreBroughtIntoIt) {
  write(kRegB, kSet | k24Hours);
  for (const u8 reg : {kSeconds, kMinutes, kHours, kDayOfMonth, kMonth, kYear, kCentury}) {
    write(reg, 0xff);
  }
  write(kRegB, k24Hours);
  expect_time(0x23, 0x59, 0x59);
  expect_date(0x99, 0x99, 0x12, 0x31);
}

// The steps of Linux's mc146818_set_time.
TEST_F(RtcTest, DividerControlFirstUpdateIsHalfASecondAfterReset) {
  pass(123'456'789);
  const u8 reg_b = read(kRegB), reg_a = read(kRegA);
  write(kRegB, reg_b | kSet);
  write(kRegA, reg_a | 7 << kDividerShift);
  write(kSeconds, 0x30);
  write(kRegB, reg_b);
  pass_seconds(7);
  EXPECT_EQ(read(kSeconds), 0x30);  // the divider still stands
  write(kRegA, reg_a);
  pass(kNsPerSecond / 2 - 1);
  EXPECT_EQ(read(kSeconds), 0x30);
  pass(1);
  EXPECT_EQ(read(kSeconds), 0x31);
}

TEST_F(RtcTest, UpdateInProgressWarnsBeforeTheTimeChanges) {
  EXPECT_EQ(read(kRegA), 0x26);
  pass(kNsPerSecond - kUpdateNotice - 1);
  EXPECT_EQ(read(kRegA) & kUpdateInProgress, 0);
  pass(1);
  EXPECT_EQ(read(kRegA) & kUpdateInProgress, kUpdateInProgress);
  write(kRegB, kSet);
  EXPECT_EQ(read(kRegA) & kUpdateInProgress, 0);
}

TEST_F(RtcTest, FollowsAHostClockThatJumps) {
  write(kHours, 0x05);
  env_.wall_seconds += 3600;
  expect_time(0x06, 0x59, 0x59);
  env_.wall_seconds += 1;  // as the two clocks' seconds may not begin together
  expect_time(0x06, 0x59, 0x59);
}

TEST_F(RtcTest, UpdateEndedInterruptComesEachSecond) {
  write(kRegB, k24Hours | kUpdateEnded);
  for (int i = 0; i < 3; ++i) {
    pass_until_deadline();
    EXPECT_EQ(env_.now_ns % kNsPerSecond, 0u);
    EXPECT_EQ(rtc_next_deadline(rtc_, env_), std::nullopt);  // not before it has been seen
    EXPECT_EQ(read(kRegC) & (kInterruptRequest | kUpdateEnded), kInterruptRequest | kUpdateEnded);
    EXPECT_FALSE(rtc_irq(rtc_));
  }
}

TEST_F(RtcTest, PeriodicInterruptHasItsRateAndCoalesces) {
  write(kRegA, 0x26);  // 1024 Hz
  write(kRegB, k24Hours | kPeriodic);
  for (u64 i = 1; i <= 3; ++i) {
    pass_until_deadline();
    EXPECT_EQ(env_.now_ns, ns_of_tick(i, 1024));
    EXPECT_EQ(read(kRegC), kInterruptRequest | kPeriodic);
  }
  pass(kNsPerSecond / 2);
  rtc_on_timer(rtc_, env_);
  EXPECT_EQ(read(kRegC), kInterruptRequest | kPeriodic);
  EXPECT_EQ(read(kRegC), 0);
}

TEST_F(RtcTest, PeriodicRates) {
  write(kRegB, k24Hours | kPeriodic);
  const auto period = [&](u8 rate) {
    write(kRegA, 0x20 | rate);
    return rtc_next_deadline(rtc_, env_).value_or(0);
  };
  EXPECT_EQ(period(0), 0u);
  EXPECT_EQ(period(1), 3'906'250u);
  EXPECT_EQ(period(2), 7'812'500u);
  EXPECT_EQ(period(3), 122'071u);
  EXPECT_EQ(period(15), 500'000'000u);
}

TEST_F(RtcTest, AlarmGoesOffAtItsTime) {
  write(kHoursAlarm, 0x01);
  write(kMinutesAlarm, 0x02);
  write(kSecondsAlarm, 0x03);
  write(kRegB, k24Hours | kAlarm);
  pass_until_deadline();
  expect_time(0x01, 0x02, 0x03);
  EXPECT_EQ(read(kRegC) & (kInterruptRequest | kAlarm), kInterruptRequest | kAlarm);
  pass_until_deadline();
  expect_time(0x01, 0x02, 0x03);
  expect_date(0x20, 0x24, 0x03, 0x02);
}

TEST_F(RtcTest, AlarmFieldsMayMatchAnything) {
  write(kHoursAlarm, 0xff);
  write(kMinutesAlarm, 0xc0);
  write(kSecondsAlarm, 0x10);
  write(kRegB, k24Hours | kAlarm);
  pass_until_deadline();
  expect_time(0x00, 0x00, 0x10);
  read(kRegC);
  pass_until_deadline();
  expect_time(0x00, 0x01, 0x10);
}

TEST_F(RtcTest, AnAlarmThatCannotMatchHasNoDeadline) {
  write(kHoursAlarm, 0xff);
  write(kMinutesAlarm, 0xff);
  write(kSecondsAlarm, 0x77);
  write(kRegB, k24Hours | kAlarm);
  EXPECT_EQ(rtc_next_deadline(rtc_, env_), std::nullopt);
}

TEST_F(RtcTest, RegisterCFlagsAreSetWithoutTheirInterrupts) {
  pass_seconds(1);
  read(kRegC);
  pass_seconds(2);
  EXPECT_EQ(read(kRegC), kPeriodic | kUpdateEnded);
  pass_seconds(2);
  read(kRegA);
  EXPECT_FALSE(rtc_irq(rtc_));
  write(kRegB, k24Hours | kUpdateEnded);  // enabling one that waits raises it
  EXPECT_TRUE(rtc_irq(rtc_));
}

TEST_F(RtcTest, ResetTurnsInterruptsOffAndKeepsTheRest) {
  write(0x40, 0x55);
  write(kHours, 0x05);
  write(kRegB, k24Hours | kUpdateEnded);
  pass_seconds(1);
  rtc_on_timer(rtc_, env_);
  rtc_reset(rtc_);
  EXPECT_FALSE(rtc_irq(rtc_));
  EXPECT_EQ(read(kRegB), k24Hours);
  EXPECT_EQ(read(0x40), 0x55);
  EXPECT_EQ(read(kHours), 0x06);
}

TEST_F(RtcTest, MemorySizeAsABiosNotesIt) {
  const auto number = [&](u8 at, int bytes) {
    u32 value = 0;
    for (int i = 0; i < bytes; ++i) value |= u32{read(static_cast<u8>(at + i))} << 8 * i;
    return value;
  };
  rtc_set_memory_size(rtc_, 2 * kGiB, 3 * kGiB);
  EXPECT_EQ(number(0x15, 2), 640u);
  EXPECT_EQ(number(0x17, 2), 0xffffu);
  EXPECT_EQ(number(0x30, 2), 0xffffu);
  EXPECT_EQ(number(0x34, 2), (2 * kGiB - 16 * kMiB) / (64 * kKiB));
  EXPECT_EQ(number(0x5b, 3), 3 * kGiB / (64 * kKiB));
  rtc_set_memory_size(rtc_, 8 * kMiB, 0);
  EXPECT_EQ(number(0x17, 2), 7 * 1024u);
  EXPECT_EQ(number(0x34, 2), 0u);
}

// Whatever the guest does: a deadline raises the interrupt, and nothing raises it before.
TEST_F(RtcTest, RandomAccessesKeepDeadlinesAndInterruptsTogether) {
  std::mt19937 random(4);
  for (int step = 0; step < 200'000; ++step) {
    pass(random() % (random() % 8 == 0 ? 3 * kNsPerSecond : 1'000'000));
    const u8 reg = static_cast<u8>(random() % 2 == 0 ? random() % 16 : random());
    if (random() % 4 != 0) {
      write(reg, static_cast<u8>(random()));
    } else {
      read(reg);
    }
    if (random() % 1000 == 0) env_.wall_seconds += 5000 - static_cast<i64>(random() % 10'000);
    rtc_on_timer(rtc_, env_);
    const auto due = rtc_next_deadline(rtc_, env_);
    if (rtc_irq(rtc_) || !due) continue;
    ASSERT_NO_FATAL_FAILURE(pass_until_deadline()) << step;
  }
}

}  // namespace
}  // namespace dvm::vmm
