#include <gtest/gtest.h>

#include "tests/unit/virtio_fake_driver.h"
#include "vmm/virtio/interrupts.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: the fake guest
using virtio::CapabilityType;
using virtio::CommonConfig;

constexpr u64 kOwnFeature = u64{1} << 5;
constexpr std::array<u16, 2> kQueueSizes = {64, 16};
constexpr std::array<u8, 12> kConfig = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
constexpr u64 kMessageAddress = 0xfee0'2000;

VirtioPciState make_device() {
  return make_virtio_pci({.id = virtio::DeviceId::balloon,
                          .class_code = 0x00'ff00,
                          .features = kOwnFeature,
                          .queue_sizes = kQueueSizes,
                          .config = kConfig,
                          .config_writable_begin = 4,
                          .config_writable_end = 8});
}

class VirtioPciTest : public ::testing::Test {
 protected:
  void make_live(u16 vector = kNoVector) {
    ASSERT_TRUE(driver_.negotiate(driver_.offered_features()));
    driver_.enable_queue(0, 8, vector);
    driver_.add_status(virtio::kStatusDriverOk);
  }
  u64 read_device(u64 offset, u8 size) {
    return virtio_bar_read(state_, 0, driver_.region(CapabilityType::device) + offset, size);
  }
  void select_queue(u16 queue) {
    driver_.write_common(offsetof(CommonConfig, queue_select), 2, queue);
  }
  FakeGuest guest_;
  FakeRing ring_{guest_, 8};
  VirtioPciState state_ = make_device();
  FakePciDriver driver_{state_};
};

TEST_F(VirtioPciTest, verify_4_1_2_1_identity) {
  EXPECT_EQ(driver_.read_config(0, 4), 0x1045'1af4u);
  EXPECT_EQ(driver_.read_config(8, 4), 0x00ff'0001u);
  EXPECT_GE(driver_.read_config(0x2e, 2), 0x40u);
}

TEST_F(VirtioPciTest, verify_4_1_4_all_capabilities_lie_in_the_bar) {
  for (const auto type : {CapabilityType::common, CapabilityType::notify, CapabilityType::isr,
                          CapabilityType::device, CapabilityType::pci_access}) {
    const u16 at = driver_.capability(type);
    ASSERT_NE(at, 0) << static_cast<int>(type);
    const u32 length = driver_.read_config(static_cast<u16>(at + 12), 4);
    EXPECT_LE(driver_.region(type) + length, kVirtioBarBytes);
    EXPECT_GE(driver_.read_config(static_cast<u16>(at + 2), 1), 16u);
  }
  EXPECT_NE(driver_.msix_capability(), 0);
}

TEST_F(VirtioPciTest, AssignedBarDecodes) {
  VirtioPciState fresh = make_device();
  EXPECT_FALSE(bar_window(fresh.pci, kVirtioBar));
  virtio_assign_bars(fresh, 0xc001'0000);
  const auto window = bar_window(fresh.pci, kVirtioBar);
  ASSERT_TRUE(window);
  EXPECT_EQ(window->base, 0xc001'0000u);
  EXPECT_EQ(window->bytes, kVirtioBarBytes);
}

TEST_F(VirtioPciTest, verify_2_2_features) {
  EXPECT_EQ(driver_.offered_features(), kOwnFeature | virtio::kCommonFeatures);
  driver_.write_common(offsetof(CommonConfig, device_feature_select), 4, 2);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, device_feature), 4), 0u);
  EXPECT_FALSE(driver_.negotiate(virtio::kFeatureVersion1 | (1u << 6))) << "not offered";
  EXPECT_FALSE(driver_.negotiate(kOwnFeature)) << "a legacy driver";
  ASSERT_TRUE(driver_.negotiate(virtio::kFeatureVersion1 | kOwnFeature));
  driver_.accept_features(0);
  EXPECT_EQ(state_.driver_features, virtio::kFeatureVersion1 | kOwnFeature) << "settled";
}

TEST_F(VirtioPciTest, verify_2_1_status_bits_only_grow) {
  driver_.add_status(virtio::kStatusAcknowledge);
  driver_.write_common(offsetof(CommonConfig, device_status), 1, virtio::kStatusDriver);
  EXPECT_EQ(driver_.status(), virtio::kStatusAcknowledge | virtio::kStatusDriver);
  driver_.add_status(virtio::kStatusDriverOk);
  EXPECT_EQ(driver_.status() & virtio::kStatusDriverOk, 0) << "features are not settled";
  driver_.add_status(virtio::kStatusNeedsReset);
  EXPECT_EQ(driver_.status() & virtio::kStatusNeedsReset, 0) << "the device's own bit";
}

TEST_F(VirtioPciTest, verify_4_1_4_3_queue_set_up) {
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, num_queues), 2), 2u);
  select_queue(1);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_size), 2), 16u);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_notify_off), 2), 1u);
  for (const u32 bad : {0u, 3u, 32u, 0x8000u}) {
    driver_.write_common(offsetof(CommonConfig, queue_size), 2, bad);
    EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_size), 2), 16u) << bad;
  }
  driver_.write_common(offsetof(CommonConfig, queue_size), 2, 4);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_size), 2), 4u);
  driver_.write_common(offsetof(CommonConfig, queue_desc), 4, 0x1000);
  driver_.write_common(offsetof(CommonConfig, queue_desc) + 4, 4, 0x2);
  driver_.write_common(offsetof(CommonConfig, queue_device), 8, 0x3'0000'2000);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_desc), 8), 0x2'0000'1000u);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_device) + 4, 4), 3u);
  select_queue(2);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_size), 2), 0u) << "no such queue";
  driver_.write_common(offsetof(CommonConfig, queue_enable), 2, 1);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_enable), 2), 0u);
}

TEST_F(VirtioPciTest, verify_3_1_1_queue_is_enabled_after_features_and_then_fixed) {
  select_queue(0);
  driver_.write_common(offsetof(CommonConfig, queue_enable), 2, 1);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_enable), 2), 0u);
  make_live();
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_enable), 2), 1u);
  driver_.write_common(offsetof(CommonConfig, queue_size), 2, 2);
  driver_.write_common(offsetof(CommonConfig, queue_desc), 4, 0);
  driver_.write_common(offsetof(CommonConfig, queue_enable), 2, 0);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_size), 2), 8u);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_desc), 4), kDesc);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_enable), 2), 1u);
}

TEST_F(VirtioPciTest, verify_4_1_5_1_2_1_vector_that_does_not_exist) {
  driver_.write_common(offsetof(CommonConfig, config_msix_vector), 2, 2);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, config_msix_vector), 2), 2u);
  driver_.write_common(offsetof(CommonConfig, config_msix_vector), 2, 3);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, config_msix_vector), 2), kNoVector);
}

TEST_F(VirtioPciTest, verify_2_4_reset) {
  make_live(1);
  driver_.enable_msix(1, kMessageAddress, 0x31);
  virtio_fail(state_, driver_.effects);
  EXPECT_TRUE(driver_.write_common(offsetof(CommonConfig, device_status), 1, 0).reset);
  EXPECT_EQ(driver_.status(), 0);
  select_queue(0);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_enable), 2), 0u);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_size), 2), 64u);
  EXPECT_EQ(driver_.read_common(offsetof(CommonConfig, queue_msix_vector), 2), kNoVector);
  EXPECT_EQ(driver_.read_isr(), 0);
  EXPECT_EQ(state_.driver_features, 0u);
  EXPECT_NE(
      driver_.read_config(static_cast<u16>(driver_.msix_capability() + 2), 2) & kMsixControlEnable,
      0u)
      << "PCI's own state stays";
}

TEST_F(VirtioPciTest, NotificationNamesALiveQueueOnly) {
  EXPECT_FALSE(driver_.notify(0).notified) << "not ready";
  make_live();
  EXPECT_EQ(driver_.notify(0).notified, 0);
  EXPECT_FALSE(driver_.notify(1).notified) << "not enabled";
  EXPECT_FALSE(driver_.notify(2).notified) << "no such queue";
  driver_.write_config(pci::kCommand, 2, pci::kCommandMemory);
  EXPECT_FALSE(driver_.notify(0).notified) << "not a bus master";
  driver_.write_config(pci::kCommand, 2, pci::kCommandBusMaster);
  virtio_fail(state_, driver_.effects);
  EXPECT_FALSE(driver_.notify(0).notified) << "needs a reset";
}

TEST_F(VirtioPciTest, verify_4_1_4_5_1_intx_and_isr) {
  make_live();
  EXPECT_FALSE(virtio_irq(state_));
  virtio_raise_queue_interrupt(state_, 0, driver_.effects);
  EXPECT_TRUE(virtio_irq(state_));
  EXPECT_NE(driver_.read_config(pci::kStatus, 2) & pci::kStatusInterrupt, 0u);
  driver_.write_config(pci::kCommand, 2, pci::kCommandIntxDisable);
  EXPECT_FALSE(virtio_irq(state_));
  driver_.write_config(pci::kCommand, 2, 0);
  EXPECT_TRUE(virtio_irq(state_));
  EXPECT_EQ(driver_.read_isr(), virtio::kIsrQueue);
  EXPECT_FALSE(virtio_irq(state_));
  EXPECT_EQ(driver_.read_isr(), 0) << "reading acknowledges";
  EXPECT_EQ(driver_.effects.msi_count, 0);
}

TEST_F(VirtioPciTest, MsixTakesThePlaceOfIntx) {
  make_live(1);
  driver_.enable_msix(1, kMessageAddress, 0x31);
  virtio_raise_queue_interrupt(state_, 0, driver_.effects);
  EXPECT_FALSE(virtio_irq(state_));
  ASSERT_EQ(driver_.effects.msi_count, 1);
  EXPECT_EQ(driver_.effects.msi[0].address, kMessageAddress);
  EXPECT_EQ(driver_.effects.msi[0].data, 0x31u);
  EXPECT_EQ(driver_.read_isr(), 0);
}

TEST_F(VirtioPciTest, WithoutBusMastershipMessagesWait) {
  make_live(1);
  driver_.enable_msix(1, kMessageAddress, 0x31);
  driver_.write_config(pci::kCommand, 2, pci::kCommandMemory);
  virtio_raise_queue_interrupt(state_, 0, driver_.effects);
  EXPECT_EQ(driver_.effects.msi_count, 0);
  driver_.write_config(pci::kCommand, 2, pci::kCommandMemory | pci::kCommandBusMaster);
  EXPECT_EQ(driver_.effects.msi_count, 1);
}

TEST_F(VirtioPciTest, verify_2_1_2_needs_reset_is_told) {
  make_live();
  driver_.write_common(offsetof(CommonConfig, config_msix_vector), 2, 0);
  driver_.enable_msix(0, kMessageAddress, 0x30);
  virtio_fail(state_, driver_.effects);
  virtio_fail(state_, driver_.effects);
  EXPECT_NE(driver_.status() & virtio::kStatusNeedsReset, 0);
  EXPECT_EQ(driver_.effects.msi_count, 1) << "once";
  EXPECT_EQ(driver_.read_isr(), virtio::kIsrConfig);
}

TEST_F(VirtioPciTest, verify_2_5_device_configuration) {
  EXPECT_EQ(read_device(0, 4), 0x0403'0201u);
  EXPECT_EQ(read_device(10, 4), 0x0c0bu) << "zero behind the end";
  EXPECT_EQ(read_device(100, 8), 0u);
  const u64 region = driver_.region(CapabilityType::device);
  EXPECT_TRUE(
      virtio_bar_write(state_, 0, region + 4, 4, 0xaabb'ccdd, driver_.effects).config_written);
  EXPECT_EQ(read_device(4, 4), 0xaabb'ccddu);
  EXPECT_FALSE(virtio_bar_write(state_, 0, region, 4, 0, driver_.effects).config_written);
  EXPECT_FALSE(virtio_bar_write(state_, 0, region + 0xfff, 8, 0, driver_.effects).config_written);
  EXPECT_EQ(read_device(0, 4), 0x0403'0201u);
}

TEST_F(VirtioPciTest, verify_4_1_4_3_1_generation_follows_changes) {
  make_live();
  const u64 before = driver_.read_common(offsetof(CommonConfig, config_generation), 1);
  state_.device_config[0]++;
  virtio_config_changed(state_, driver_.effects);
  EXPECT_NE(driver_.read_common(offsetof(CommonConfig, config_generation), 1), before);
  EXPECT_TRUE(virtio_irq(state_));
}

TEST_F(VirtioPciTest, verify_4_1_4_9_access_through_the_configuration_space) {
  make_live();
  const u16 at = driver_.capability(CapabilityType::pci_access);
  const auto aim = [&](u64 offset, u32 length) {
    driver_.write_config(static_cast<u16>(at + 4), 1, 0);
    driver_.write_config(static_cast<u16>(at + 8), 4, static_cast<u32>(offset));
    driver_.write_config(static_cast<u16>(at + 12), 4, length);
  };
  const u16 data = static_cast<u16>(at + 16);
  aim(driver_.region(CapabilityType::common) + offsetof(CommonConfig, num_queues), 2);
  EXPECT_EQ(driver_.read_config(data, 2), 2u);
  aim(driver_.region(CapabilityType::common) + offsetof(CommonConfig, queue_select), 2);
  driver_.write_config(data, 2, 1);
  EXPECT_EQ(state_.queue_select, 1);
  aim(driver_.region(CapabilityType::notify), 2);
  EXPECT_EQ(driver_.write_config(data, 2, 0).notified, 0);
  // What is not an access does nothing.
  aim(driver_.region(CapabilityType::notify), 3);
  EXPECT_FALSE(driver_.write_config(data, 4, 0).notified);
  aim(driver_.region(CapabilityType::notify) + 1, 2);
  EXPECT_FALSE(driver_.write_config(data, 2, 0).notified);
  aim(0xffff'fffc, 4);
  EXPECT_FALSE(driver_.write_config(data, 4, 0).notified);
  driver_.read_config(data, 4);
  driver_.write_config(static_cast<u16>(at + 4), 1, 0xff);
  EXPECT_FALSE(driver_.write_config(data, 4, 0).notified);
}

TEST_F(VirtioPciTest, RecoveryRepeatsIndexAndInterrupt) {
  make_live(1);
  driver_.enable_msix(1, kMessageAddress, 0x31);
  FakeService service(state_);
  virtio_adopt(service.state, *virtio_live_queue(state_, 0));
  service.state.used_idx = 3;
  service.state.published_used = 3;
  service.serve(guest_.memory, driver_.effects, true, [](QueueState&) { return Status{}; });
  EXPECT_EQ(ring_.used_idx(), 3);
  EXPECT_EQ(driver_.effects.msi_count, 1);
}

}  // namespace
}  // namespace dvm::vmm
