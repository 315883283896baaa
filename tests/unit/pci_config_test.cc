#include <gtest/gtest.h>

#include <random>

#include "vmm/pci/config_address.h"
#include "vmm/pci/config_registers.h"
#include "vmm/pci/config_space.h"
#include "vmm/pci/host_bridge.h"

namespace dvm::vmm {
namespace {

constexpr PciIdentity kIdentity = {.vendor = 0x1234,
                                   .device = 0x5678,
                                   .class_code = 0x02'0000,
                                   .revision = 3,
                                   .subsystem_vendor = 0x9abc,
                                   .subsystem = 0xdef0};

class PciConfigTest : public ::testing::Test {
 protected:
  PciConfigTest() {
    add_bar(config_, 0, BarKind::mem32, 32 * kKiB);
    add_bar(config_, 1, BarKind::io, 32);
    add_bar(config_, 2, BarKind::mem64, 8 * kGiB);
    set_interrupt_pin(config_, 1);
  }
  u32 size_bar(u16 offset) {
    config_write(config_, offset, 4, 0xffff'ffff);
    return config_read(config_, offset, 4);
  }
  ConfigSpace config_ = make_config_space(kIdentity);
};

TEST_F(PciConfigTest, ShowsItsIdentityAtEveryWidth) {
  EXPECT_EQ(config_read(config_, 0x00, 4), 0x5678'1234u);
  EXPECT_EQ(config_read(config_, 0x02, 2), 0x5678u);
  EXPECT_EQ(config_read(config_, 0x0b, 1), 0x02u);
  EXPECT_EQ(config_read(config_, 0x08, 1), 3u);
  EXPECT_EQ(config_read(config_, 0x0e, 1), 0u);  // header type 0, single function
  EXPECT_EQ(config_read(config_, 0x2c, 4), 0xdef0'9abcu);
  EXPECT_EQ(config_read(config_, 0x3d, 1), 1u);
}

TEST_F(PciConfigTest, IdentityIsReadOnly) {
  const u32 before = config_read(config_, 0, 4);
  config_write(config_, 0, 4, ~before);
  EXPECT_EQ(config_read(config_, 0, 4), before);
  config_write(config_, 0x3c, 4, 0xffff'ffff);
  EXPECT_EQ(config_read(config_, 0x3c, 4), 0x01ffu);  // the line is writable, the pin is not
}

TEST_F(PciConfigTest, verify_pci30_6_2_5_1_sizing) {
  EXPECT_EQ(size_bar(0x10), 0xffff'8000u);
  EXPECT_EQ(size_bar(0x14), 0xffff'ffe1u);
  EXPECT_EQ(size_bar(0x18), 0x0000'0004u);  // 8 GiB: all of the lower half is below the size
  EXPECT_EQ(size_bar(0x1c), 0xffff'fffeu);
  EXPECT_EQ(size_bar(0x20), 0u);  // not implemented
  EXPECT_EQ(size_bar(0x30), 0u);  // no expansion ROM
}

TEST_F(PciConfigTest, WindowNeedsDecodingAndAnAddress) {
  EXPECT_FALSE(bar_window(config_, 0));
  config_write(config_, 0x10, 4, 0xc000'7abc);
  EXPECT_FALSE(bar_window(config_, 0)) << "decoding is off";
  config_write(config_, pci::kCommand, 2, pci::kCommandMemory);
  ASSERT_TRUE(bar_window(config_, 0));
  EXPECT_EQ(bar_window(config_, 0)->base, 0xc000'0000u);
  EXPECT_EQ(bar_window(config_, 0)->bytes, 32 * kKiB);
  EXPECT_FALSE(bar_window(config_, 1)) << "I/O decoding is off";
  size_bar(0x10);
  EXPECT_FALSE(bar_window(config_, 0)) << "the answer to sizing is no address";
  EXPECT_FALSE(bar_window(config_, 99));
}

TEST_F(PciConfigTest, WideBarIsMadeOfTwoSlots) {
  config_write(config_, pci::kCommand, 2, pci::kCommandMemory | pci::kCommandIo);
  set_bar_base(config_, 2, 0x40'0000'0000);
  ASSERT_TRUE(bar_window(config_, 2));
  EXPECT_EQ(bar_window(config_, 2)->base, 0x40'0000'0000u);
  EXPECT_FALSE(bar_window(config_, 3)) << "the upper half is no window";
  size_bar(0x18);
  size_bar(0x1c);
  EXPECT_FALSE(bar_window(config_, 2));
  config_write(config_, 0x14, 4, 0x1'ffe0);
  EXPECT_FALSE(bar_window(config_, 1)) << "there is no such port";
  config_write(config_, 0x14, 4, 0xc000);
  EXPECT_EQ(bar_window(config_, 1)->base, 0xc000u);
}

TEST_F(PciConfigTest, CapabilitiesAreChained) {
  EXPECT_EQ(config_read(config_, pci::kStatus, 2) & pci::kStatusCapabilities, 0u);
  const u8 first = add_capability(config_, 9, std::array<u8, 3>{1, 2, 3});
  const u8 second = add_capability(config_, 17, std::array<u8, 10>{});
  EXPECT_NE(config_read(config_, pci::kStatus, 2) & pci::kStatusCapabilities, 0u);
  EXPECT_EQ(config_read(config_, pci::kCapabilities, 1), first);
  EXPECT_EQ(config_read(config_, first, 1), 9u);
  EXPECT_EQ(config_read(config_, first + 1, 1), second);
  EXPECT_EQ(config_read(config_, first + 4, 1), 3u);
  EXPECT_EQ(config_read(config_, second + 1, 1), 0u);
  EXPECT_EQ(second % 4, 0);
}

TEST_F(PciConfigTest, InterruptStatusDrivesThePinUnlessDisabled) {
  EXPECT_FALSE(intx_level(config_));
  set_interrupt_status(config_, true);
  EXPECT_TRUE(intx_level(config_));
  EXPECT_NE(config_read(config_, pci::kStatus, 2) & pci::kStatusInterrupt, 0u);
  config_write(config_, pci::kCommand, 2, pci::kCommandIntxDisable);
  EXPECT_FALSE(intx_level(config_));
  EXPECT_NE(config_read(config_, pci::kStatus, 2) & pci::kStatusInterrupt, 0u);
  config_write(config_, pci::kStatus, 2, 0xffff);
  EXPECT_NE(config_read(config_, pci::kStatus, 2) & pci::kStatusInterrupt, 0u) << "read-only";
}

TEST_F(PciConfigTest, MalformedAndExtendedAccesses) {
  EXPECT_EQ(config_read(config_, 0x03, 2), 0xffffu);
  EXPECT_EQ(config_read(config_, 0x02, 4), 0xffff'ffffu);
  EXPECT_EQ(config_read(config_, 0x00, 3), 0xff'ffffu);
  EXPECT_EQ(config_read(config_, 0x00, 8), 0xffff'ffffu);
  EXPECT_EQ(config_read(config_, 0x100, 4), 0u);
  EXPECT_EQ(config_read(config_, 0xffc, 4), 0u);
  EXPECT_EQ(config_read(config_, 0x1000, 4), 0xffff'ffffu);
  const ConfigSpace before = config_;
  config_write(config_, 0x12, 4, ~0u);
  config_write(config_, 0x10, 8, ~0u);
  config_write(config_, 0x110, 4, ~0u);
  config_write(config_, 0xfffc, 4, ~0u);
  EXPECT_EQ(before.dwords, config_.dwords);
}

TEST(ConfigAddressTest, Ports) {
  EXPECT_FALSE(decode_config_ports(0x0000'0800, 0));
  EXPECT_FALSE(decode_config_ports(0x8000'0000, 4));
  EXPECT_EQ(decode_config_ports(0x8012'fd3c, 2), (ConfigAddress{0x12, 31, 5, 0x3e}));
  // Bits 1:0 of the address register are not part of the address.
  EXPECT_EQ(decode_config_ports(0x8000'0003, 0), (ConfigAddress{0, 0, 0, 0}));
}

TEST(ConfigAddressTest, Ecam) {
  EXPECT_EQ(decode_ecam(0), (ConfigAddress{0, 0, 0, 0}));
  EXPECT_EQ(decode_ecam((1u << 20) | (2u << 15) | (3u << 12) | 0x104),
            (ConfigAddress{1, 2, 3, 0x104}));
}

TEST(HostBridgeTest, FirmwareFindsItAndItsRegisters) {
  ConfigSpace bridge = make_host_bridge();
  EXPECT_EQ(config_read(bridge, 0, 4), 0x29c0'8086u);
  EXPECT_EQ(config_read(bridge, 0x2c, 4), 0x1100'1af4u);
  EXPECT_EQ(config_read(bridge, 0x0a, 2), 0x0600u);
  EXPECT_EQ(config_read(bridge, kHostBridgePciexbar, 4), 0xb000'0005u);
  config_write(bridge, kHostBridgePciexbar, 4, 0);
  EXPECT_EQ(config_read(bridge, kHostBridgePciexbar, 4), 0xb000'0005u);
  EXPECT_EQ(config_read(bridge, kHostBridgePciexbar + 4, 4), 0u);
  for (u16 pam = kHostBridgePam0; pam <= 0x96; pam++) {
    config_write(bridge, pam, 1, pam);
    EXPECT_EQ(config_read(bridge, pam, 1), pam);
  }
  config_write(bridge, 0x97, 1, 0xff);
  EXPECT_EQ(config_read(bridge, 0x97, 1), 0u);
  config_write(bridge, kHostBridgeSmram, 1, 0x4a);
  EXPECT_EQ(config_read(bridge, 0x9c, 4), 0x4a00u);
}

TEST(HostBridgeTest, InterruptPinsRotateWithTheSlot) {
  EXPECT_EQ(intx_gsi(0, 1), 16);
  EXPECT_EQ(intx_gsi(3, 1), 19);
  EXPECT_EQ(intx_gsi(7, 4), 18);
  EXPECT_EQ(intx_gsi(31, 1), 23);
}

TEST(PciConfigProperty, RandomAccessesKeepWhatIsReadOnly) {
  std::mt19937 random(1);
  ConfigSpace config = make_host_bridge();
  add_bar(config, 0, BarKind::mem64, 4 * kKiB);
  const ConfigSpace before = config;
  for (int i = 0; i < 200'000; i++) {
    const u16 offset = static_cast<u16>(random() % 0x1100);
    const u8 size = static_cast<u8>(random() % 10);
    if (random() % 2 == 0) {
      config_write(config, offset, size, static_cast<u32>(random()));
    } else {
      config_read(config, offset, size);
    }
    if (const auto window = bar_window(config, random() % 8)) {
      EXPECT_GT(window->base + window->bytes, window->base);
    }
  }
  EXPECT_EQ(config.dwords[0], before.dwords[0]);
  EXPECT_EQ(config.dwords[2], before.dwords[2]);
  EXPECT_EQ(config.dwords[0x60 / 4], before.dwords[0x60 / 4]);
}

}  // namespace
}  // namespace dvm::vmm
