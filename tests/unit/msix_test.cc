#include "vmm/pci/msix.h"

#include <gtest/gtest.h>

#include <cstring>

namespace dvm::vmm {
namespace {

constexpr u64 kAddress = 0xfee0'1000;

class MsixTest : public ::testing::Test {
 protected:
  MsixTest() { msix_set_control(msix_, true, false, effects_); }
  void program(u16 vector, u32 data, bool masked = false) {
    msix_table_write(msix_, vector * 16u, 8, kAddress, effects_);
    msix_table_write(msix_, vector * 16u + 8, 8, data | (u64{masked} << 32), effects_);
  }
  void mask(u16 vector, bool masked) {
    msix_table_write(msix_, vector * 16u + 12, 4, masked ? 1 : 0, effects_);
  }
  MsixState msix_ = make_msix(3);
  Effects effects_;
};

TEST_F(MsixTest, SendsTheProgrammedMessage) {
  program(1, 0x41);
  msix_notify(msix_, 1, effects_);
  ASSERT_EQ(effects_.msi_count, 1);
  EXPECT_EQ(effects_.msi[0].address, kAddress);
  EXPECT_EQ(effects_.msi[0].data, 0x41u);
}

TEST_F(MsixTest, verify_pci30_6_8_2_9_vectors_start_masked) {
  EXPECT_EQ(msix_table_read(msix_, 12, 4), 1u);
  msix_notify(msix_, 0, effects_);
  EXPECT_EQ(effects_.msi_count, 0);
  EXPECT_EQ(msix_pba_read(msix_, 0, 8), 1u);
}

TEST_F(MsixTest, UnmaskingSendsWhatIsPendingOnce) {
  program(2, 0x42, true);
  msix_notify(msix_, 2, effects_);
  msix_notify(msix_, 2, effects_);
  EXPECT_EQ(effects_.msi_count, 0);
  EXPECT_EQ(msix_pba_read(msix_, 0, 4), 4u);
  mask(2, false);
  EXPECT_EQ(effects_.msi_count, 1);
  EXPECT_EQ(msix_pba_read(msix_, 0, 4), 0u);
  mask(2, true);
  mask(2, false);
  EXPECT_EQ(effects_.msi_count, 1);
}

TEST_F(MsixTest, FunctionMaskHoldsAllVectors) {
  program(0, 0x40);
  program(1, 0x41);
  msix_set_control(msix_, true, true, effects_);
  msix_notify(msix_, 0, effects_);
  msix_notify(msix_, 1, effects_);
  EXPECT_EQ(effects_.msi_count, 0);
  msix_set_control(msix_, true, false, effects_);
  EXPECT_EQ(effects_.msi_count, 2);
}

TEST_F(MsixTest, DisabledSendsAndRemembersNothing) {
  program(0, 0x40);
  msix_set_control(msix_, false, false, effects_);
  msix_notify(msix_, 0, effects_);
  msix_set_control(msix_, true, false, effects_);
  EXPECT_EQ(effects_.msi_count, 0);
}

TEST_F(MsixTest, WhatEffectsCannotHoldStaysPending) {
  MsixState msix = make_msix(kMsixMaxVectors);
  msix_set_control(msix, true, true, effects_);
  for (u16 v = 0; v < kMsixMaxVectors; v++) {
    msix_table_write(msix, v * 16u + 12, 4, 0, effects_);
    msix_notify(msix, v, effects_);
  }
  u32 sent = 0;
  Effects first;
  msix_set_control(msix, true, false, first);
  sent += first.msi_count;
  Effects second;
  msix_set_control(msix, true, false, second);
  sent += second.msi_count;
  EXPECT_EQ(sent, kMsixMaxVectors);
  EXPECT_EQ(msix.pending, 0u);
}

TEST_F(MsixTest, TableKeepsWhatIsWritableAtBothWidths) {
  msix_table_write(msix_, 16, 8, 0x1122'3344'5566'7788, effects_);
  EXPECT_EQ(msix_table_read(msix_, 16, 4), 0x5566'7788u);
  EXPECT_EQ(msix_table_read(msix_, 20, 4), 0x1122'3344u);
  msix_table_write(msix_, 16, 4, 0xffff'ffff, effects_);
  EXPECT_EQ(msix_table_read(msix_, 16, 8), 0x1122'3344'ffff'fffcu);
  msix_table_write(msix_, 28, 4, 0xffff'ffff, effects_);
  EXPECT_EQ(msix_table_read(msix_, 28, 4), 1u);
}

TEST_F(MsixTest, BadAccessesAndVectorsDoNothing) {
  const MsixState before = msix_;
  msix_table_write(msix_, 2, 4, ~0ull, effects_);
  msix_table_write(msix_, 4, 8, ~0ull, effects_);
  msix_table_write(msix_, 0, 1, ~0ull, effects_);
  msix_table_write(msix_, 3 * 16, 4, ~0ull, effects_);
  msix_table_write(msix_, ~7ull, 8, ~0ull, effects_);
  msix_notify(msix_, 3, effects_);
  msix_notify(msix_, 0xffff, effects_);
  EXPECT_EQ(std::memcmp(&before, &msix_, sizeof(msix_)), 0);
  EXPECT_EQ(msix_table_read(msix_, 3 * 16, 4), 0u);
  EXPECT_EQ(msix_table_read(msix_, ~7ull, 8), 0u);
  EXPECT_EQ(msix_pba_read(msix_, 8, 8), 0u);
  EXPECT_EQ(msix_pba_read(msix_, 1, 4), 0u);
}

TEST(MsixCapabilityTest, LayoutAndWritableBits) {
  ConfigSpace config = make_config_space({});
  const u8 at = add_msix_capability(config, 5, 0, 0x4000, 0x5000);
  EXPECT_EQ(config_read(config, at, 1), 0x11u);
  EXPECT_EQ(config_read(config, static_cast<u16>(at + 2), 2), 4u);
  EXPECT_EQ(config_read(config, static_cast<u16>(at + 4), 4), 0x4000u);
  EXPECT_EQ(config_read(config, static_cast<u16>(at + 8), 4), 0x5000u);
  config_write(config, static_cast<u16>(at + 2), 2, 0xffff);
  EXPECT_EQ(config_read(config, static_cast<u16>(at + 2), 2), 0xc004u);
}

}  // namespace
}  // namespace dvm::vmm
