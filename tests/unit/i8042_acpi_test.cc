// The small devices around power: keyboard controller, ACPI registers, reset and panic ports.
#include <gtest/gtest.h>

#include <random>

#include "vmm/devices/acpi_pm.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/pvpanic.h"
#include "vmm/devices/reset_port.h"

namespace dvm::vmm {
namespace {

class I8042Test : public ::testing::Test {
 protected:
  PowerRequest write(u16 offset, u8 value) {
    Effects effects;
    i8042_write(controller_, offset, value, effects);
    return effects.power;
  }
  PowerRequest command(u8 value) { return write(i8042::kCommandOffset, value); }
  PowerRequest data(u8 value) { return write(i8042::kDataOffset, value); }
  u8 status() { return i8042_read(controller_, i8042::kCommandOffset); }
  u8 answer() {
    EXPECT_EQ(status() & i8042::kOutputFull, i8042::kOutputFull);
    const u8 value = i8042_read(controller_, i8042::kDataOffset);
    EXPECT_EQ(status() & i8042::kOutputFull, 0);
    return value;
  }

  I8042State controller_;
};

TEST_F(I8042Test, IsIdleAndUnlockedAtFirst) {
  EXPECT_EQ(status(), i8042::kNotLocked | i8042::kSystemFlag);
}

TEST_F(I8042Test, PulseOfTheResetLineResets) {
  EXPECT_EQ(command(i8042::kPulseReset), PowerRequest::reset);
  EXPECT_EQ(command(0xf0), PowerRequest::reset);
  EXPECT_EQ(command(0xff), PowerRequest::none);
  EXPECT_EQ(command(0xfd), PowerRequest::none);
}

TEST_F(I8042Test, OutputPortResetsWhenItsLineGoesLow) {
  EXPECT_EQ(command(i8042::kWriteOutputPort), PowerRequest::none);
  EXPECT_EQ(data(0xfe), PowerRequest::reset);
  EXPECT_EQ(data(0xfe), PowerRequest::none);  // no longer for the output port
  command(i8042::kWriteOutputPort);
  EXPECT_EQ(data(0xdf), PowerRequest::none);  // A20 on, as boot loaders write it
  command(i8042::kReadOutputPort);
  EXPECT_EQ(answer(), i8042::kOutputResetHigh | i8042::kOutputA20);
}

TEST_F(I8042Test, SelfTestPassesAndNothingIsPluggedIn) {
  command(i8042::kSelfTest);
  EXPECT_EQ(answer(), i8042::kSelfTestPassed);
  command(i8042::kKeyboardTest);
  EXPECT_EQ(answer(), i8042::kClockStuckLow);
  command(i8042::kAuxTest);
  EXPECT_EQ(answer(), i8042::kClockStuckLow);
  data(0xff);  // a keyboard would acknowledge
  EXPECT_EQ(status() & i8042::kOutputFull, 0);
}

TEST_F(I8042Test, ConfigurationIsKept) {
  command(i8042::kWriteConfig);
  data(0x47);
  command(i8042::kReadConfig);
  EXPECT_EQ(answer(), 0x47);
  command(i8042::kKeyboardDisable);
  command(i8042::kAuxDisable);
  command(i8042::kReadConfig);
  EXPECT_EQ(answer(), 0x77);
  command(i8042::kKeyboardEnable);
  command(i8042::kAuxEnable);
  command(i8042::kReadConfig);
  EXPECT_EQ(answer(), 0x47);
}

TEST_F(I8042Test, AuxEchoIsAnsweredButNotByAnAuxPort) {
  command(i8042::kEchoAux);
  data(0x5a);
  EXPECT_EQ(status() & (i8042::kOutputFull | 0x20), i8042::kOutputFull);
  EXPECT_EQ(answer(), 0x5a);
}

TEST_F(I8042Test, RandomAccessesNeverSeemBusy) {
  std::mt19937 random(5);
  for (int step = 0; step < 100'000; ++step) {
    const u16 offset = static_cast<u16>(random() % 6);
    if (random() % 2 == 0) {
      write(offset, static_cast<u8>(random()));
    } else {
      i8042_read(controller_, offset);
    }
    ASSERT_EQ(status() & (0x02 | i8042::kNotLocked), i8042::kNotLocked);
  }
}

class AcpiPmTest : public ::testing::Test {
 protected:
  PowerRequest write(u16 offset, u8 size, u32 value) {
    Effects effects;
    acpi_pm_write(pm_, offset, size, value, effects);
    return effects.power;
  }
  u32 read(u16 offset, u8 size) { return acpi_pm_read(pm_, offset, size); }
  static constexpr u16 sleep(u16 type) {
    return static_cast<u16>(acpi_pm::kSleepEnable | type << acpi_pm::kSleepTypeShift);
  }

  AcpiPmState pm_;
};

TEST_F(AcpiPmTest, SciEnableIsAlwaysSet) {
  EXPECT_EQ(read(acpi_pm::kControl, 2), acpi_pm::kSciEnable);
  write(acpi_pm::kControl, 2, 0);
  EXPECT_EQ(read(acpi_pm::kControl, 2), acpi_pm::kSciEnable);
}

TEST_F(AcpiPmTest, SleepTypeS5ShutsDown) {
  // As Linux does: the type first, then the same with SLP_EN.
  const u16 type = acpi_pm::kSleepTypeS5 << acpi_pm::kSleepTypeShift;
  EXPECT_EQ(write(acpi_pm::kControl, 2, type | 1u), PowerRequest::none);
  EXPECT_EQ(read(acpi_pm::kControl, 2), type | 1u);
  EXPECT_EQ(write(acpi_pm::kControl, 2, sleep(acpi_pm::kSleepTypeS5) | 1u), PowerRequest::shutdown);
  EXPECT_EQ(read(acpi_pm::kControl, 2) & acpi_pm::kSleepEnable, 0u);
}

TEST_F(AcpiPmTest, SleepByOneByteOrFour) {
  EXPECT_EQ(write(acpi_pm::kControl + 1, 1, sleep(5) >> 8), PowerRequest::shutdown);
  EXPECT_EQ(write(acpi_pm::kControl, 4, sleep(5)), PowerRequest::shutdown);
  EXPECT_EQ(write(acpi_pm::kEnable, 4, u32{sleep(5)} << 16), PowerRequest::shutdown);
}

TEST_F(AcpiPmTest, OtherSleepStatesWakeAtOnce) {
  EXPECT_EQ(write(acpi_pm::kControl, 2, sleep(1)), PowerRequest::none);
  EXPECT_EQ(read(acpi_pm::kStatus, 2), acpi_pm::kWake);
  write(acpi_pm::kStatus, 2, acpi_pm::kWake);
  EXPECT_EQ(read(acpi_pm::kStatus, 2), 0u);
}

TEST_F(AcpiPmTest, PowerButtonRaisesTheSciUntilCleared) {
  acpi_press_power_button(pm_);
  EXPECT_FALSE(acpi_irq(pm_));
  write(acpi_pm::kEnable, 2, acpi_pm::kPowerButton);
  EXPECT_TRUE(acpi_irq(pm_));
  write(acpi_pm::kStatus, 2, acpi_pm::kGlobal);  // clears another bit
  EXPECT_TRUE(acpi_irq(pm_));
  write(acpi_pm::kStatus, 2, acpi_pm::kPowerButton);
  EXPECT_FALSE(acpi_irq(pm_));
  EXPECT_EQ(read(acpi_pm::kEnable, 2), acpi_pm::kPowerButton);
}

TEST_F(AcpiPmTest, AccessesOfAnySizeReachTheirBytes) {
  acpi_press_power_button(pm_);
  write(acpi_pm::kEnable + 1, 1, acpi_pm::kPowerButton >> 8);
  EXPECT_EQ(read(acpi_pm::kStatus, 4), 0x0100'0100u);
  EXPECT_EQ(read(acpi_pm::kStatus + 1, 1), 0x01u);
  EXPECT_EQ(read(acpi_pm::kStatus + 1, 4), 0x0101'0001u);
  EXPECT_EQ(read(acpi_pm::kControl, 4), 0xffff'0001u);
  EXPECT_EQ(read(0xffff, 4), 0xffff'ffffu);
  write(acpi_pm::kStatus, 4, 0x0000'0100u);  // clears the event and its enable bit
  EXPECT_EQ(read(acpi_pm::kStatus, 4), 0u);
}

TEST_F(AcpiPmTest, RandomAccessesKeepReservedBitsClear) {
  std::mt19937 random(6);
  for (int step = 0; step < 100'000; ++step) {
    const u16 offset = static_cast<u16>(random() % 8 == 0 ? random() : random() % 8);
    const u8 size = static_cast<u8>(random() % 16 == 0 ? random() : random() % 5);
    if (random() % 8 == 0) acpi_press_power_button(pm_);
    write(offset, size, static_cast<u32>(random()));
    read(offset, size);
    ASSERT_EQ(pm_.status & ~(acpi_pm::kPowerButton | acpi_pm::kWake), 0);
    ASSERT_EQ(pm_.enable & ~(acpi_pm::kEvents | acpi_pm::kPcieWakeDisable), 0);
    ASSERT_EQ(pm_.control & ~acpi_pm::kSleepTypeMask, acpi_pm::kSciEnable);
  }
}

TEST(ResetPortTest, RiseOfResetCpuResets) {
  ResetPortState port;
  const auto write = [&](u8 value) {
    Effects effects;
    reset_port_write(port, value, effects);
    return effects.power;
  };
  // As Linux does: the kind of reset first, then the same with RST_CPU.
  EXPECT_EQ(write(reset_port::kSystemReset), PowerRequest::none);
  EXPECT_EQ(reset_port_read(port), reset_port::kSystemReset);
  EXPECT_EQ(write(0x0e), PowerRequest::reset);
  EXPECT_EQ(reset_port_read(port), 0x0a);
  EXPECT_EQ(write(0xf1), PowerRequest::none);
  EXPECT_EQ(reset_port_read(port), 0);
}

TEST(PvpanicTest, OnlyAPanicIsOurs) {
  EXPECT_EQ(pvpanic_read(), 0x03);
  const auto write = [](u8 value) {
    Effects effects;
    pvpanic_write(value, effects);
    return effects.power;
  };
  EXPECT_EQ(write(pvpanic::kPanicked), PowerRequest::panic);
  EXPECT_EQ(write(pvpanic::kCrashLoaded), PowerRequest::none);
  EXPECT_EQ(write(0xfc), PowerRequest::none);
}

}  // namespace
}  // namespace dvm::vmm
