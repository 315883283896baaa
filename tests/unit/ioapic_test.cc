#include "vmm/irq/ioapic.h"

#include <gtest/gtest.h>

namespace dvm::vmm {
namespace {

class IoApicTest : public ::testing::Test {
 protected:
  IoApicMessages program(u8 pin, u64 entry) {
    ioapic_write(s_, 0x00, 0x11u + 2u * pin);
    ioapic_write(s_, 0x10, static_cast<u32>(entry >> 32));
    ioapic_write(s_, 0x00, 0x10u + 2u * pin);
    return ioapic_write(s_, 0x10, static_cast<u32>(entry));
  }
  IoApicState s_ = ioapic_reset_state();
};

constexpr u64 kLevel = 1u << 15, kMasked = 1u << 16;

TEST_F(IoApicTest, EdgeIsSentOnceARisingEdge) {
  program(4, 0x0200'0000'0000'0034);
  const auto sent = ioapic_set_line(s_, 4, 0, true);
  ASSERT_EQ(sent.count, 1u);
  EXPECT_EQ(sent.messages[0].destination, 2u);
  EXPECT_EQ(sent.messages[0].vector, 0x34);
  EXPECT_FALSE(sent.messages[0].level_triggered);
  EXPECT_EQ(ioapic_set_line(s_, 4, 0, true).count, 0u);
  ioapic_set_line(s_, 4, 0, false);
  EXPECT_EQ(ioapic_set_line(s_, 4, 0, true).count, 1u);
}

TEST_F(IoApicTest, LevelIsHeldBackUntilEoiAndSentAgainWhileAsserted) {
  program(17, kLevel | 0x51);
  EXPECT_EQ(ioapic_set_line(s_, 17, 1, true).count, 1u);
  EXPECT_EQ(ioapic_set_line(s_, 17, 2, true).count, 0u) << "remote IRR is set";
  ioapic_set_line(s_, 17, 1, false);
  EXPECT_EQ(ioapic_eoi(s_, 0x51).count, 1u) << "the other source still asserts the pin";
  ioapic_set_line(s_, 17, 2, false);
  EXPECT_EQ(ioapic_eoi(s_, 0x51).count, 0u);
}

TEST_F(IoApicTest, AMaskedLevelPinIsSentWhenUnmasked) {
  program(9, kLevel | kMasked | 0x60);
  EXPECT_EQ(ioapic_set_line(s_, 9, 0, true).count, 0u);
  EXPECT_EQ(program(9, kLevel | 0x60).count, 1u);
}

TEST_F(IoApicTest, RemoteIrrIsReadOnlyAndClearedBySwitchingToEdge) {
  program(9, kLevel | 0x60);
  ioapic_set_line(s_, 9, 0, true);
  ioapic_write(s_, 0x00, 0x10 + 18);
  EXPECT_NE(ioapic_read(s_, 0x10) & (1u << 14), 0u);
  program(9, kMasked | 0x60);
  EXPECT_EQ(ioapic_read(s_, 0x10) & (1u << 14), 0u);
}

TEST_F(IoApicTest, RegistersOutOfRangeAreHarmless) {
  EXPECT_EQ(ioapic_set_line(s_, 24, 0, true).count, 0u);
  EXPECT_EQ(ioapic_set_line(s_, 3, 32, true).count, 0u);
  ioapic_write(s_, 0x00, 0xff);
  ioapic_write(s_, 0x10, ~0u);
  EXPECT_EQ(ioapic_read(s_, 0x10), 0u);
  ioapic_write(s_, 0x00, 1);
  EXPECT_EQ(ioapic_read(s_, 0x10) >> 16, 23u);
}

}  // namespace
}  // namespace dvm::vmm
