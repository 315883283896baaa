#include "vmm/virtio/rng.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/virtio_fake_driver.h"
#include "vmm/virtio/interrupts.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: the fake guest
using ring::kDescriptorNext;
using ring::kDescriptorWrite;

class VirtioRngTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(driver_.negotiate(driver_.offered_features()));
    driver_.enable_queue(0, kRngQueueSize, 1);
    driver_.enable_msix(1, 0xfee0'0000, 0x55);
    driver_.add_status(virtio::kStatusDriverOk);
  }
  // What the machine does with a notification, without the publications in between.
  void kick() {
    const auto result = driver_.notify(0);
    ASSERT_EQ(result.notified, kRngQueue);
    serve(false);
  }
  void serve(bool again) {
    service_.serve(guest_.memory, driver_.effects, again,
                   [&](QueueState& q) { return rng_process(q, guest_.memory, random_); });
  }
  u64 count(u64 gpa, u64 bytes, std::byte value) {
    const auto span = guest_.memory.span(gpa, bytes).value();
    return static_cast<u64>(std::count(span.begin(), span.end(), value));
  }
  FakeGuest guest_;
  FakeRing ring_{guest_, kRngQueueSize};
  VirtioPciState state_ = make_virtio_rng();
  FakePciDriver driver_{state_};
  FakeService service_{state_};
  RandomSource random_ = [](std::span<std::byte> to) {
    std::fill(to.begin(), to.end(), std::byte{0xa5});
  };
};

TEST_F(VirtioRngTest, Identity) {
  EXPECT_EQ(driver_.read_config(0, 4), 0x1044'1af4u);
  EXPECT_EQ(driver_.read_config(8, 4), 0x00ff'0001u);
  EXPECT_EQ(driver_.capability(virtio::CapabilityType::device), 0) << "it has no configuration";
}

TEST_F(VirtioRngTest, FillsABufferAndInterrupts) {
  ring_.descriptor(0, kBuffers, 64, kDescriptorWrite);
  ring_.offer(0);
  kick();
  EXPECT_EQ(count(kBuffers, 64, std::byte{0xa5}), 64u);
  EXPECT_EQ(count(kBuffers + 64, 64, std::byte{0}), 64u) << "and nothing behind it";
  EXPECT_EQ(ring_.used_idx(), 1);
  EXPECT_EQ(ring_.used(0).bytes_written, 64u);
  ASSERT_EQ(driver_.effects.msi_count, 1);
  EXPECT_EQ(driver_.effects.msi[0].data, 0x55u);
}

TEST_F(VirtioRngTest, FillsAllWritableSegmentsAndManyChains) {
  ring_.descriptor(0, kBuffers, 16, kDescriptorNext, 1);  // not allowed, not harmful
  ring_.descriptor(1, kBuffers + 0x100, 5000, kDescriptorWrite | kDescriptorNext, 2);
  ring_.descriptor(2, kBuffers + 0x2000, 3, kDescriptorWrite);
  ring_.descriptor(3, kBuffers + 0x3000, 8, kDescriptorWrite);
  ring_.offer(0);
  ring_.offer(3);
  kick();
  EXPECT_EQ(count(kBuffers, 16, std::byte{0}), 16u);
  EXPECT_EQ(count(kBuffers + 0x100, 5000, std::byte{0xa5}), 5000u);
  EXPECT_EQ(ring_.used(0).bytes_written, 5003u);
  EXPECT_EQ(ring_.used(1).bytes_written, 8u);
  EXPECT_EQ(driver_.effects.msi_count, 1) << "one for both";
}

TEST_F(VirtioRngTest, WorkPerChainIsBounded) {
  ring_.descriptor(0, kBuffers, 0x1'8000, kDescriptorWrite | kDescriptorNext, 1);
  ring_.descriptor(1, kBuffers, 0x1'8000, kDescriptorWrite);
  ring_.offer(0);
  kick();
  EXPECT_EQ(ring_.used(0).bytes_written, kRngMaxChainBytes);
}

TEST_F(VirtioRngTest, ABrokenChainStopsTheDeviceUntilReset) {
  ring_.descriptor(0, 0x1000, 64, kDescriptorWrite);  // not RAM
  ring_.offer(0);
  kick();
  EXPECT_NE(driver_.status() & virtio::kStatusNeedsReset, 0);
  EXPECT_EQ(ring_.used_idx(), 0);
  EXPECT_FALSE(driver_.notify(0).notified);

  guest_.ram.assign(guest_.ram.size(), std::byte{0});
  SetUp();
  ring_.set_avail_idx(0);
  ring_.descriptor(0, kBuffers, 64, kDescriptorWrite);
  ring_.offer(0);
  kick();
  EXPECT_EQ(ring_.used_idx(), 1);
}

TEST_F(VirtioRngTest, ADriverThatKeepsOfferingIsCutOff) {
  ring_.descriptor(0, kBuffers, 1, kDescriptorWrite);
  ring_.offer(0);
  u32 calls = 0;
  random_ = [&](std::span<std::byte> to) {
    std::fill(to.begin(), to.end(), std::byte{1});
    ring_.offer(0);  // one more each time, as another vCPU might
    calls++;
  };
  kick();
  EXPECT_LE(calls, kRngQueueSize);
  EXPECT_NE(driver_.status() & virtio::kStatusNeedsReset, 0);
}

TEST_F(VirtioRngTest, WorksByIntxToo) {
  driver_.write_config(static_cast<u16>(driver_.msix_capability() + 2), 2, 0);
  ring_.descriptor(0, kBuffers, 64, kDescriptorWrite);
  ring_.offer(0);
  kick();
  EXPECT_TRUE(virtio_irq(state_));
  EXPECT_EQ(driver_.read_isr(), virtio::kIsrQueue);
  EXPECT_FALSE(virtio_irq(state_));
}

// Another node serves the notification again from the old state; the driver sees it once.
TEST_F(VirtioRngTest, ARepeatedStepIsSeenOnce) {
  ring_.descriptor(0, kBuffers, 64, kDescriptorWrite);
  ring_.offer(0);
  virtio_adopt(service_.state, *virtio_live_queue(state_, kRngQueue));
  const QueueState published = service_.state;
  ASSERT_TRUE(rng_process(service_.state, guest_.memory, random_).ok());
  EXPECT_EQ(ring_.used_idx(), 0);
  service_.state = published;
  serve(true);
  EXPECT_EQ(ring_.used_idx(), 1);
  EXPECT_EQ(ring_.used(0).bytes_written, 64u);
}

TEST(SystemRandomTest, FillsTheSpan) {
  std::array<std::byte, 4096> bytes{};
  system_random(bytes);
  EXPECT_LT(std::count(bytes.begin(), bytes.end(), std::byte{0}), 256);
}

}  // namespace
}  // namespace dvm::vmm
