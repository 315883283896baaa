// handle_exit: what KVM's exit records do to the machine, bogus ones included.
#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

class ExitTest : public ::testing::Test {
 protected:
  std::unique_ptr<Machine> machine_ = make_machine(machine_spec(2));
  FakeExits cpu_{*machine_};
  VcpuRecord& v_ = machine_->state().vcpus[0];
};

TEST_F(ExitTest, AStringOfPortWritesIsCarriedOutInOrder) {
  cpu_.out_string(layout::kSerialPort, "hello");
  std::array<char, 16> text{};
  ASSERT_EQ(machine_->console_output(text), 5u);
  EXPECT_STREQ(text.data(), "hello");
}

TEST_F(ExitTest, AStringOfPortReadsFillsItsData) {
  const std::string typed = "abc";
  machine_->console_input(typed);
  cpu_.out(layout::kSerialPort + serial::kInterruptIdentOrFifoControl, 1, serial::kFcrEnable);
  machine_->console_input(typed);
  std::memset(cpu_.data(), 0, 4);
  EXPECT_EQ(cpu_.io(false, layout::kSerialPort, 1, 4).outcome, ExitOutcome::go_on);
  EXPECT_EQ(std::memcmp(cpu_.data(), "abc\0", 4), 0);
}

TEST_F(ExitTest, PortRecordsThatDoNotFitAreRefused) {
  const std::array<std::array<u64, 3>, 7> bogus = {{{3, 1, FakeExits::kDataOffset},
                                                    {0, 1, FakeExits::kDataOffset},
                                                    {8, 1, FakeExits::kDataOffset},
                                                    {4, 1, FakeExits::kRunBytes - 3},
                                                    {1, 1, ~0ull},
                                                    {4, 0xffff'ffff, FakeExits::kDataOffset},
                                                    {2, 4097, FakeExits::kDataOffset}}};
  for (const auto& [size, count, offset] : bogus) {
    for (const bool out : {false, true}) {
      const ExitResult r =
          cpu_.io(out, 0x80, static_cast<u8>(size), static_cast<u32>(count), offset);
      EXPECT_EQ(r.outcome, ExitOutcome::failed) << size << " " << count << " " << offset;
      EXPECT_NE(r.why.find("KVM_EXIT_IO"), std::string::npos);
    }
  }
  EXPECT_EQ(cpu_.io(true, 0x80, 4, 0).outcome, ExitOutcome::go_on);
  EXPECT_EQ(cpu_.io(true, 0x80, 1, 1, FakeExits::kRunBytes - 1).outcome, ExitOutcome::go_on);
}

TEST_F(ExitTest, TheClockIsWrittenWhereTheGuestAsks) {
  constexpr u64 kAt = 0x5000, kWallAt = 0x6000;
  ASSERT_TRUE(cpu_.wrmsr(kMsrKvmSystemTime, kAt | 1));
  PvclockTime time;
  ASSERT_TRUE(machine_->memory().read(kAt, std::as_writable_bytes(std::span(&time, 1))).ok());
  const PvclockTime expected = pvclock_time(machine_->config().tsc_khz);
  EXPECT_EQ(std::memcmp(&time, &expected, sizeof(time)), 0);
  u64 value = 0;
  ASSERT_TRUE(cpu_.rdmsr(kMsrKvmSystemTime, value));
  EXPECT_EQ(value, kAt | 1);

  ASSERT_TRUE(cpu_.wrmsr(kMsrKvmWallClock, kWallAt));
  PvclockWall wall;
  ASSERT_TRUE(machine_->memory().read(kWallAt, std::as_writable_bytes(std::span(&wall, 1))).ok());
  const i64 now = wall.seconds + static_cast<i64>(machine_->now_ns() / 1'000'000'000);
  EXPECT_NEAR(static_cast<double>(now), static_cast<double>(::time(nullptr)), 2);

  EXPECT_FALSE(cpu_.wrmsr(kMsrKvmSystemTime, ~0ull)) << "no RAM";
  EXPECT_FALSE(cpu_.wrmsr(kMsrKvmWallClock, ~0ull));
  EXPECT_TRUE(cpu_.wrmsr(kMsrKvmSystemTime, ~1ull)) << "off";
}

TEST_F(ExitTest, WhatNobodyClaimsReadsAsOnes) {
  EXPECT_EQ(cpu_.in(0x1234, 1), 0xffu);
  EXPECT_EQ(cpu_.in(0x1234, 2), 0xffffu);
  EXPECT_EQ(cpu_.in(0x1234, 4), 0xffff'ffffu);
  EXPECT_EQ(cpu_.in(0xffff, 4), 0xffff'ffffu) << "past the last port";
  EXPECT_EQ(cpu_.mmio_read(0xf000'0000, 8), ~0ull);
  EXPECT_EQ(cpu_.mmio_read(0xf000'0000, 2), 0xffffull);
  EXPECT_EQ(cpu_.mmio_read(~0ull, 8), ~0ull);
  cpu_.mmio_write(~0ull, 8, 1);
  cpu_.out(0xffff, 4, 0);
}

TEST_F(ExitTest, AnMmioRecordLongerThanItsDataIsCutShort) {
  cpu_.run().mmio.phys_addr = 0xf000'0000;
  cpu_.run().mmio.len = 4096;
  cpu_.run().mmio.is_write = 0;
  EXPECT_EQ(cpu_.handle(KVM_EXIT_MMIO).outcome, ExitOutcome::go_on);
  EXPECT_EQ(cpu_.mmio_read(0xf000'0000, 0), 0u);
}

TEST_F(ExitTest, X2ApicRegistersAreMsrs) {
  u64 value = 0;
  ASSERT_TRUE(cpu_.rdmsr(kMsrX2ApicFirst + kRegVersion, value));
  EXPECT_EQ(value, kLapicVersion);
  ASSERT_TRUE(FakeExits(*machine_, 1).rdmsr(kMsrX2ApicFirst + kRegId, value));
  EXPECT_EQ(value, 1u);
  ASSERT_TRUE(cpu_.wrmsr(kMsrX2ApicFirst + kRegTpr, 0x20));
  ASSERT_TRUE(cpu_.rdmsr(kMsrX2ApicFirst + kRegPpr, value));
  EXPECT_EQ(value, 0x20u);
  EXPECT_FALSE(cpu_.wrmsr(kMsrX2ApicFirst + kRegTpr, 1ull << 32)) << "reserved bits";
  EXPECT_FALSE(cpu_.wrmsr(kMsrX2ApicFirst + kRegDfr, 0)) << "not in x2APIC";
  EXPECT_FALSE(cpu_.rdmsr(kMsrX2ApicLast + 1, value));
  EXPECT_FALSE(cpu_.rdmsr(0xc000'0103, value));
  EXPECT_FALSE(cpu_.wrmsr(0xdead, 0));
  EXPECT_EQ(v_.counters.other_msrs, 1u);
}

TEST_F(ExitTest, TheApicBaseGoesFromX2ToXApicOnlyThroughOff) {
  u64 base = 0;
  ASSERT_TRUE(cpu_.rdmsr(kMsrApicBase, base));
  EXPECT_EQ(base, layout::kLocalApicBase | 0xd00);
  EXPECT_FALSE(cpu_.wrmsr(kMsrApicBase, base & ~kApicBaseX2));
  EXPECT_FALSE(cpu_.wrmsr(kMsrApicBase, base + kPageBytes)) << "the window stays where it is";
  EXPECT_TRUE(cpu_.wrmsr(kMsrApicBase, layout::kLocalApicBase, ExitOutcome::apic_base));
  EXPECT_FALSE(cpu_.rdmsr(kMsrX2ApicFirst + kRegId, base)) << "off";
  EXPECT_EQ(cpu_.mmio_read(layout::kLocalApicBase + 0x30, 4), 0xffff'ffffu) << "off";
  EXPECT_TRUE(
      cpu_.wrmsr(kMsrApicBase, layout::kLocalApicBase | kApicBaseEnabled, ExitOutcome::apic_base));
  EXPECT_EQ(cpu_.mmio_read(layout::kLocalApicBase + 0x30, 4), kLapicVersion);
  EXPECT_EQ(cpu_.mmio_read(layout::kLocalApicBase + 0x30, 8), ~0ull) << "registers are 32 bits";
  EXPECT_EQ(cpu_.mmio_read(layout::kLocalApicBase + 0x31, 4), 0xffff'ffffu);
  EXPECT_EQ(cpu_.mmio_read(layout::kLocalApicBase + 0xffc, 4), 0xffff'ffffu);
}

TEST_F(ExitTest, TheDeadlineMsrCountsOnlyInItsMode) {
  u64 value = 1;
  EXPECT_TRUE(cpu_.wrmsr(kMsrTscDeadline, 1234));
  ASSERT_TRUE(cpu_.rdmsr(kMsrTscDeadline, value));
  EXPECT_EQ(value, 0u);
  enable_lapic(v_);
  EXPECT_TRUE(cpu_.wrmsr(kMsrX2ApicFirst + kRegLvtTimer, (kTimerTscDeadline << 17) | 0x40));
  EXPECT_TRUE(cpu_.wrmsr(kMsrTscDeadline, 1234));
  ASSERT_TRUE(cpu_.rdmsr(kMsrTscDeadline, value));
  EXPECT_EQ(value, 1234u);
  lapic_check_timer(v_.lapic, v_.inbox, machine_->lapic_clock());
  EXPECT_TRUE(requested(*machine_, 0, 0x40)) << "long past";
  EXPECT_EQ(v_.lapic.deadline_tsc, 0u);
}

TEST_F(ExitTest, PvEoiTakesOnlyWordsInRam) {
  u64 value = 0;
  for (const u64 bad :
       std::array<u64, 6>{kTestMemory | 1, (kTestMemory - 4) | 3, ~0ull, (1ull << 63) | 1,
                          layout::kLocalApicBase | 1, 0xffff'ffff'ffff'fffdull}) {
    EXPECT_FALSE(cpu_.wrmsr(kMsrKvmPvEoi, bad)) << std::hex << bad;
    ASSERT_TRUE(cpu_.rdmsr(kMsrKvmPvEoi, value));
    EXPECT_EQ(value, 0u);
  }
  EXPECT_TRUE(cpu_.wrmsr(kMsrKvmPvEoi, (kTestMemory - 4) | 1)) << "the last word of RAM";
  ASSERT_TRUE(cpu_.rdmsr(kMsrKvmPvEoi, value));
  EXPECT_EQ(value, (kTestMemory - 4) | 1);
  EXPECT_TRUE(cpu_.wrmsr(kMsrKvmPvEoi, ~1ull)) << "off: the address does not matter";
}

TEST_F(ExitTest, EveryOtherReasonHasItsOutcome) {
  EXPECT_EQ(cpu_.handle(KVM_EXIT_HLT).outcome, ExitOutcome::halted);
  EXPECT_EQ(cpu_.handle(KVM_EXIT_IRQ_WINDOW_OPEN).outcome, ExitOutcome::go_on);
  EXPECT_EQ(cpu_.handle(KVM_EXIT_INTR).outcome, ExitOutcome::go_on);
  EXPECT_EQ(cpu_.handle(KVM_EXIT_SHUTDOWN).outcome, ExitOutcome::triple_fault);
  for (const u32 reason : {u32{KVM_EXIT_INTERNAL_ERROR}, u32{KVM_EXIT_FAIL_ENTRY}, 999u}) {
    const ExitResult r = cpu_.handle(reason);
    EXPECT_EQ(r.outcome, ExitOutcome::failed);
    EXPECT_FALSE(r.why.empty());
  }
}

}  // namespace
}  // namespace dvm::vmm
