// Local APIC rules, each test named after the clause of the Intel SDM, vol. 3A.
#include "vmm/irq/lapic.h"

#include <gtest/gtest.h>

#include <random>

#include "vmm/irq/lapic_registers.h"
#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

constexpr u64 kKhz = 2'000'000;  // 2 ticks a nanosecond

class LapicTest : public ::testing::Test {
 protected:
  void SetUp() override {
    lapic_reset(s_, inbox_, 5, false, true);
    write(kRegSvr, 0x1ff);
  }
  LapicAction write(u32 reg, u64 value, u64 tsc = 0) {
    return lapic_write(s_, inbox_, reg, value, {tsc, kKhz});
  }
  u64 read(u32 reg, u64 tsc = 0) { return lapic_read(s_, inbox_, reg, {tsc, kKhz}).value; }
  void take(u8 vector) {
    lapic_request(inbox_, vector, false);
    ASSERT_EQ(lapic_pending(s_, inbox_), vector);
    lapic_accept(s_, inbox_, vector);
  }

  LapicState s_;
  LapicInbox inbox_{};
};

TEST_F(LapicTest, S11_8_3_HigherClassInterruptsLowerOne) {
  take(0x45);
  lapic_request(inbox_, 0x47, false);
  EXPECT_FALSE(lapic_pending(s_, inbox_).has_value()) << "same class waits";
  lapic_request(inbox_, 0x51, false);
  EXPECT_EQ(lapic_pending(s_, inbox_), 0x51);
  lapic_accept(s_, inbox_, 0x51);
  write(kRegEoi, 0);
  EXPECT_EQ(lapic_highest_in_service(s_), 0x45);
  write(kRegEoi, 0);
  EXPECT_EQ(lapic_pending(s_, inbox_), 0x47);
}

TEST_F(LapicTest, S11_8_3_1_TaskPriorityHoldsInterruptsBack) {
  write(kRegTpr, 0x50);
  lapic_request(inbox_, 0x5f, false);
  EXPECT_FALSE(lapic_pending(s_, inbox_).has_value());
  EXPECT_EQ(read(kRegPpr), 0x50u);
  write(kRegTpr, 0x40);
  EXPECT_EQ(lapic_pending(s_, inbox_), 0x5f);
}

TEST_F(LapicTest, S11_4_7_2_SoftwareDisabledTakesNothingAndMasksTheLvt) {
  write(kRegLvtTimer, 0x30);
  write(kRegSvr, 0xff);
  lapic_request(inbox_, 0x60, false);
  EXPECT_FALSE(lapic_pending(s_, inbox_).has_value());
  EXPECT_NE(read(kRegLvtTimer) & kLvtMasked, 0u);
  write(kRegLvtTimer, 0x30);
  EXPECT_NE(read(kRegLvtTimer) & kLvtMasked, 0u) << "the mask bit cannot be cleared while disabled";
}

TEST_F(LapicTest, S11_5_4_OneShotFiresOnceAtItsCount) {
  write(kRegTimerDivide, 0xb);  // by 1: one count a nanosecond
  write(kRegLvtTimer, 0x30);
  write(kRegTimerInitial, 1000, 500);
  EXPECT_EQ(s_.deadline_tsc, 500u + 2000);
  EXPECT_EQ(read(kRegTimerCurrent, 1500), 500u);
  lapic_check_timer(s_, inbox_, {2499, kKhz});
  EXPECT_FALSE(lapic_any_requested(inbox_));
  lapic_check_timer(s_, inbox_, {2500, kKhz});
  EXPECT_EQ(lapic_pending(s_, inbox_), 0x30);
  EXPECT_EQ(s_.deadline_tsc, 0u);
}

TEST_F(LapicTest, S11_5_4_PeriodicKeepsItsPhaseAfterALateService) {
  write(kRegTimerDivide, 0xb);
  write(kRegLvtTimer, 0x30 | (kTimerPeriodic << kTimerModeShift));
  write(kRegTimerInitial, 500, 0);  // 1000 ticks
  lapic_check_timer(s_, inbox_, {3700, kKhz});
  EXPECT_EQ(s_.deadline_tsc, 4000u);
}

TEST_F(LapicTest, S11_5_4_1_DeadlineModeIgnoresInitialCountAndSwitchingDisarms) {
  lapic_write_deadline(s_, 99);
  EXPECT_EQ(s_.deadline_tsc, 0u) << "ignored outside its mode";
  write(kRegLvtTimer, 0x30 | (kTimerTscDeadline << kTimerModeShift));
  write(kRegTimerInitial, 500, 0);
  EXPECT_EQ(s_.deadline_tsc, 0u);
  lapic_write_deadline(s_, 1234);
  EXPECT_EQ(s_.deadline_tsc, 1234u);
  write(kRegLvtTimer, 0x30);
  EXPECT_EQ(s_.deadline_tsc, 0u);
}

TEST_F(LapicTest, S11_8_4_EoiOfALevelInterruptIsToldToTheIoApic) {
  lapic_request(inbox_, 0x40, true);
  lapic_accept(s_, inbox_, 0x40);
  EXPECT_EQ(write(kRegEoi, 0).level_eoi, 0x40);
  take(0x40);  // now edge: the same vector's TMR bit is clear again
  EXPECT_FALSE(write(kRegEoi, 0).level_eoi.has_value());
  EXPECT_FALSE(write(kRegEoi, 0).level_eoi.has_value()) << "nothing in service";
}

TEST_F(LapicTest, S11_12_9_IcrIsOneWriteWithA32BitDestination) {
  const auto action = write(kRegIcr, (7ull << 32) | 0x40fd);
  ASSERT_TRUE(action.ipi.has_value());
  EXPECT_EQ(action.ipi->destination, 7u);
  EXPECT_EQ(action.ipi->vector, 0xfd);
  EXPECT_EQ(action.ipi->mode, DeliveryMode::fixed);
  EXPECT_FALSE(action.ipi->logical);
}

TEST_F(LapicTest, S11_12_10_LogicalIdIsDerivedFromTheId) {
  EXPECT_EQ(read(kRegLdr), 1u << 5);
  EXPECT_TRUE(lapic_matches(s_, 0x20, true));
  EXPECT_FALSE(lapic_matches(s_, 0x0001'0020, true)) << "another cluster";
  EXPECT_TRUE(lapic_matches(s_, 0xffff'ffff, false));
  EXPECT_TRUE(lapic_matches(s_, 5, false));
  EXPECT_FALSE(lapic_matches(s_, 6, false));
}

TEST_F(LapicTest, S11_12_1_2_ReservedRegistersFaultInX2Apic) {
  EXPECT_TRUE(write(0x01, 0).fault);
  EXPECT_TRUE(write(kRegDfr, 0).fault);
  EXPECT_TRUE(write(kRegTpr, 1ull << 32).fault);
  EXPECT_TRUE(write(kRegEsr, 1).fault);
}

TEST_F(LapicTest, S11_12_5_1_ModeChangesOnlyAlongTheArrows) {
  const u64 base = layout::kLocalApicBase;
  EXPECT_FALSE(lapic_write_base(s_, base | kApicBaseEnabled)) << "x2APIC to xAPIC";
  EXPECT_FALSE(lapic_write_base(s_, base | kApicBaseX2)) << "x2APIC without enable";
  EXPECT_FALSE(lapic_write_base(s_, (base + 0x1000) | kApicBaseEnabled | kApicBaseX2));
  EXPECT_TRUE(lapic_write_base(s_, base));
  EXPECT_TRUE(lapic_write_base(s_, base | kApicBaseEnabled));
  EXPECT_EQ(s_.mode.load(), 1u);
  EXPECT_EQ(read(kRegId), 5u << 24);
}

TEST_F(LapicTest, S11_6_2_2_FlatAndClusterDestinationsOfXApic) {
  ASSERT_TRUE(lapic_write_base(s_, layout::kLocalApicBase));
  ASSERT_TRUE(lapic_write_base(s_, layout::kLocalApicBase | kApicBaseEnabled));
  write(kRegLdr, 0x0400'0000);
  EXPECT_TRUE(lapic_matches(s_, 0x06, true));
  EXPECT_FALSE(lapic_matches(s_, 0x03, true));
  write(kRegDfr, 0x0fff'ffff);
  write(kRegLdr, 0x2400'0000);
  EXPECT_TRUE(lapic_matches(s_, 0x24, true));
  EXPECT_FALSE(lapic_matches(s_, 0x34, true));
  const auto action = [&] {
    write(kRegIcrHigh, 0xff00'0000);
    return write(kRegIcr, 0x000c'4600 | 0x99);
  }();
  EXPECT_EQ(action.ipi->mode, DeliveryMode::sipi);
  EXPECT_EQ(action.ipi->shorthand, Shorthand::all_but_self);
}

TEST_F(LapicTest, S9_4_4_1_ASipiToARunningProcessorLeavesNothingBehind) {
  inbox_.signals.store(kSignalSipi | 0x9a00);
  lapic_drop_stray_sipi(inbox_);
  EXPECT_EQ(inbox_.signals.load(), 0u);
  inbox_.signals.store(kSignalSipi | kSignalNmi | 0x9a00);
  lapic_drop_stray_sipi(inbox_);
  EXPECT_EQ(inbox_.signals.load(), kSignalNmi);
  inbox_.signals.store(kSignalSipi | kSignalInit | 0x9a00);
  lapic_drop_stray_sipi(inbox_);
  EXPECT_EQ(inbox_.signals.load(), kSignalSipi | kSignalInit | 0x9a00) << "it belongs to the INIT";
}

TEST(InterruptMessage, S11_11_MsiAddressAndData) {
  const auto m = decode_msi({0xfee0'3004, 0x8141});
  EXPECT_EQ(m.destination, 3u);
  EXPECT_TRUE(m.logical);
  EXPECT_TRUE(m.level_triggered);
  EXPECT_EQ(m.mode, DeliveryMode::lowest_priority);
  EXPECT_EQ(m.vector, 0x41);
  EXPECT_EQ(decode_msi({0xfeef'f000, 0}).destination, 0xffff'ffffu);
}

// Whatever is written, invariants hold: what is pending is above what is in service, and reading
// never changes anything.
TEST_F(LapicTest, RandomAccessesKeepThePriorityRule) {
  std::mt19937_64 random(11);
  u64 tsc = 0;
  for (int i = 0; i < 200'000; ++i) {
    const u32 reg = static_cast<u32>(random() % 0x48);
    tsc += random() % 5000;
    switch (random() % 4) {
      case 0: lapic_request(inbox_, static_cast<u8>(random()), random() % 2 == 0); break;
      case 1: write(reg, random() >> (random() % 64), tsc); break;
      case 2: read(reg, tsc); break;
      case 3: lapic_check_timer(s_, inbox_, {tsc, kKhz}); break;
    }
    const auto pending = lapic_pending(s_, inbox_);
    if (!pending) continue;
    const auto serving = lapic_highest_in_service(s_);
    ASSERT_TRUE(!serving || (*pending >> 4) > (*serving >> 4));
    if (random() % 2 == 0) lapic_accept(s_, inbox_, *pending);
  }
}

}  // namespace
}  // namespace dvm::vmm
