#include "vmm/devices/pit.h"

#include <gtest/gtest.h>

#include <random>

#include "vmm/devices/ticks.h"

namespace dvm::vmm {
namespace {

using namespace pit;

class PitTest : public ::testing::Test {
 protected:
  u8 read(u16 offset) { return pit_read(pit_, offset, env_); }
  void write(u16 offset, u8 value) { pit_write(pit_, offset, value, env_); }
  void program(u8 control, u16 count) {
    write(kControlOffset, control);
    const u16 channel = control >> 6;
    const u8 access = control >> 4 & 3;
    if (access & 1) write(channel, static_cast<u8>(count));
    if (access & 2) write(channel, static_cast<u8>(count >> 8));
    loaded_ = ticks_at(env_.now_ns, kHz) + 1;
  }
  // To `ticks` after the count reached the counter.
  void at(u64 ticks) { env_.now_ns = ns_of_tick(loaded_ + ticks, kHz); }
  u16 read_word(u16 channel) {
    const u8 low = read(channel);
    return static_cast<u16>(read(channel) << 8 | low);
  }
  u8 status(u16 channel) {
    write(kControlOffset, static_cast<u8>(0xc0 | kReadBackNoCount | 2 << channel));
    return read(channel);
  }
  bool out(u16 channel) { return (status(channel) & kStatusOutput) != 0; }
  bool take_irq() { return pit_take_irq(pit_, env_); }
  std::optional<u64> deadline() { return pit_next_deadline(pit_, env_); }

  PitState pit_;
  DeviceEnv env_;
  u64 loaded_ = 0;
};

TEST_F(PitTest, PowerOnCountsNothing) { EXPECT_EQ(deadline(), std::nullopt); }

TEST_F(PitTest, Mode0RisesOnceAtTerminalCountAndCountsOn) {
  program(0x30, 1000);
  EXPECT_FALSE(out(0));
  at(999);
  EXPECT_FALSE(out(0));
  EXPECT_EQ(read_word(0), 1);
  EXPECT_EQ(deadline(), ns_of_tick(loaded_ + 1000, kHz));
  at(1000);
  EXPECT_TRUE(out(0));
  EXPECT_TRUE(take_irq());
  EXPECT_FALSE(take_irq());
  EXPECT_EQ(deadline(), std::nullopt);
  at(1001);
  EXPECT_EQ(read_word(0), 0xffff);
}

TEST_F(PitTest, Mode0FirstByteStopsTheCounter) {
  program(0x30, 100);
  at(200);
  EXPECT_TRUE(out(0));
  write(0, 0x10);
  EXPECT_FALSE(out(0));
  at(10'000);
  EXPECT_FALSE(out(0));
  write(0, 0x00);
  at(10'017);
  EXPECT_TRUE(out(0));
}

TEST_F(PitTest, Mode2IsLowForOneTickAndRisesEachPeriod) {
  program(0x34, 100);
  EXPECT_TRUE(out(0));
  EXPECT_EQ(read_word(0), 100);
  at(99);
  EXPECT_FALSE(out(0));
  EXPECT_EQ(read_word(0), 1);
  EXPECT_FALSE(take_irq());
  at(100);
  EXPECT_TRUE(out(0));
  EXPECT_EQ(read_word(0), 100);
  EXPECT_TRUE(take_irq());
  EXPECT_EQ(deadline(), ns_of_tick(loaded_ + 200, kHz));
}

TEST_F(PitTest, MissedTicksAreOneEdgeAndThePeriodKeepsItsPhase) {
  program(0x34, 11932);
  at(11932 * 50 + 7);
  EXPECT_TRUE(take_irq());
  EXPECT_FALSE(take_irq());
  EXPECT_EQ(deadline(), ns_of_tick(loaded_ + 11932 * 51, kHz));
}

TEST_F(PitTest, Mode3HalvesOfAnEvenAndAnOddCount) {
  program(0x36, 10);
  at(4);
  EXPECT_TRUE(out(0));
  EXPECT_EQ(read_word(0), 2);
  at(5);
  EXPECT_FALSE(out(0));
  EXPECT_EQ(read_word(0), 10);
  at(10);
  EXPECT_TRUE(out(0));
  EXPECT_TRUE(take_irq());

  program(0x36, 5);
  at(2);
  EXPECT_TRUE(out(0));
  EXPECT_EQ(read_word(0), 0);
  at(3);
  EXPECT_FALSE(out(0));
  EXPECT_EQ(read_word(0), 4);
  at(4);
  EXPECT_FALSE(out(0));
  at(5);
  EXPECT_TRUE(out(0));
}

TEST_F(PitTest, Mode4StrobesOnceAfterTheCount) {
  program(0x38, 50);
  at(50);
  EXPECT_FALSE(out(0));
  EXPECT_FALSE(take_irq());
  EXPECT_EQ(deadline(), ns_of_tick(loaded_ + 51, kHz));
  at(51);
  EXPECT_TRUE(out(0));
  EXPECT_TRUE(take_irq());
  EXPECT_EQ(deadline(), std::nullopt);
}

TEST_F(PitTest, AnEdgeBeforeReprogrammingIsNotLost) {
  program(0x34, 100);
  at(150);
  program(0x30, 1000);
  EXPECT_EQ(deadline(), env_.now_ns);
  EXPECT_TRUE(take_irq());
  EXPECT_FALSE(take_irq());
}

TEST_F(PitTest, CountZeroIsTheLargestAndBcdCountsInDecimal) {
  program(0x34, 0);
  EXPECT_EQ(deadline(), ns_of_tick(loaded_ + 0x10000, kHz));
  program(0x35, 0);
  EXPECT_EQ(deadline(), ns_of_tick(loaded_ + 10'000, kHz));
  program(0x31, 0x1000);
  at(1);
  EXPECT_EQ(read_word(0), 0x0999);
  at(1001);
  EXPECT_EQ(read_word(0), 0x9999);
}

TEST_F(PitTest, CounterLatchHoldsUntilRead) {
  program(0x34, 0x1234);
  at(0x34);
  write(kControlOffset, 0x00);
  at(0x50);
  write(kControlOffset, 0x00);  // ignored: the first latch has not been read
  EXPECT_EQ(read_word(0), 0x1200);
  EXPECT_EQ(read_word(0), 0x1234 - 0x50);
}

TEST_F(PitTest, ReadBackGivesStatusBeforeCount) {
  program(0x34, 0x0100);
  at(0x10);
  write(kControlOffset, 0xc2);
  EXPECT_EQ(read(0), kStatusOutput | 0x34);
  EXPECT_EQ(read_word(0), 0x00f0);
  write(kControlOffset, 0x34);
  EXPECT_EQ(status(0), kStatusOutput | kStatusNullCount | 0x34);
}

TEST_F(PitTest, SingleByteAccess) {
  program(0x14, 0x80);  // low byte only
  at(1);
  EXPECT_EQ(read(0), 0x7f);
  EXPECT_EQ(read(0), 0x7f);
  program(0x24, 0x8000);  // high byte only
  at(1);
  EXPECT_EQ(read(0), 0x7f);
}

TEST_F(PitTest, GatePausesMode0AndRestartsMode3) {
  portb_write(pit_, kPortBGate2, env_);
  program(0xb0, 1000);
  at(400);
  portb_write(pit_, 0, env_);
  at(5000);
  EXPECT_EQ(read_word(2), 600);
  portb_write(pit_, kPortBGate2, env_);
  at(5599);
  EXPECT_EQ(portb_read(pit_, env_) & kPortBOutput2, 0);
  at(5600);
  EXPECT_EQ(portb_read(pit_, env_) & kPortBOutput2, kPortBOutput2);

  program(0xb6, 1000);
  at(700);
  EXPECT_FALSE(out(2));
  portb_write(pit_, 0, env_);
  EXPECT_TRUE(out(2));
  portb_write(pit_, kPortBGate2, env_);
  loaded_ += 701;
  at(0);
  EXPECT_EQ(read_word(2), 1000);
}

TEST_F(PitTest, GateTriggersModes1And5) {
  program(0xb2, 100);
  EXPECT_TRUE(out(2));
  portb_write(pit_, kPortBGate2, env_);
  at(99);
  EXPECT_FALSE(out(2));
  portb_write(pit_, 0, env_);  // is not looked at any more
  at(100);
  EXPECT_TRUE(out(2));

  program(0xba, 100);
  EXPECT_TRUE(out(2));
  portb_write(pit_, kPortBGate2, env_);
  at(100);
  EXPECT_FALSE(out(2));
  at(101);
  EXPECT_TRUE(out(2));
}

TEST_F(PitTest, PortBKeepsItsBitsAndTogglesRefresh) {
  portb_write(pit_, 0xff, env_);
  EXPECT_EQ(portb_read(pit_, env_) & (kPortBWritable | 0xc0), kPortBWritable);
  const u8 before = portb_read(pit_, env_) & kPortBRefresh;
  env_.now_ns += kRefreshNs;
  EXPECT_NE(portb_read(pit_, env_) & kPortBRefresh, before);
}

// The steps of Linux's pit_calibrate_tsc: channel 2 in mode 0, and a wait for its output.
TEST_F(PitTest, LinuxPitCalibrateTscMeasuresTenMilliseconds) {
  constexpr u16 kLatch = kHz / 100;
  portb_write(pit_, static_cast<u8>((portb_read(pit_, env_) & ~2) | 1), env_);
  write(3, 0xb0);
  write(2, static_cast<u8>(kLatch));
  write(2, static_cast<u8>(kLatch >> 8));
  while ((portb_read(pit_, env_) & kPortBOutput2) == 0) env_.now_ns += 200;
  EXPECT_NEAR(static_cast<double>(env_.now_ns), 10e6, 2000);
}

// The steps of Linux's quick_pit_calibrate: it reads channel 2 unlatched, low byte first, and waits
// for each new high byte.
TEST_F(PitTest, LinuxQuickPitCalibrateSeesEachHighByte) {
  portb_write(pit_, 1, env_);
  write(3, 0xb0);
  write(2, 0xff);
  write(2, 0xff);
  const auto next_is = [&](u8 high) {
    env_.now_ns += 1500;
    read(2);
    env_.now_ns += 1500;
    return read(2) == high;
  };
  next_is(0);
  const u64 start = env_.now_ns;
  for (u8 high = 0xff; high > 0xff - 50; --high) {
    int reads = 0;
    while (next_is(high)) ++reads;
    ASSERT_GT(reads, 5) << int{high};
  }
  EXPECT_NEAR(static_cast<double>(env_.now_ns - start), 50 * 256 * 1e9 / kHz, 10'000);
}

// Whatever the guest does: a deadline is met by an edge, and by none before it.
TEST_F(PitTest, RandomAccessesKeepDeadlinesAndEdgesTogether) {
  std::mt19937 random(3);
  for (int step = 0; step < 200'000; ++step) {
    env_.now_ns += random() % 100'000;
    const u8 value = static_cast<u8>(random());
    switch (random() % 5) {
      case 0: read(static_cast<u16>(random())); break;
      case 1: write(static_cast<u16>(random()), value); break;
      case 2: portb_write(pit_, value, env_); break;
      case 3: portb_read(pit_, env_); break;
      default: {
        const auto due = deadline();
        ASSERT_EQ(take_irq(), due && *due <= env_.now_ns) << step;
        const auto next = deadline();
        if (!next) break;
        ASSERT_GT(*next, env_.now_ns);
        env_.now_ns = *next - 1;
        ASSERT_FALSE(take_irq()) << step;
        env_.now_ns = *next;
        ASSERT_TRUE(take_irq()) << step;
      }
    }
  }
}

}  // namespace
}  // namespace dvm::vmm
