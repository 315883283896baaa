// A disk's server on a whole machine, with a real file: its thread takes requests from the queue
// itself, woken by a notification or by its bell (which KVM rings for an ioeventfd).
#include <chrono>
#include <thread>

#include "tests/unit/disk_fixture.h"
#include "tests/unit/machine_driver.h"
#include "vmm/node_disk.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u32 kFunction = 1;
constexpr u64 kHeader = 0x30'0000;
constexpr u64 kData = 0x31'0000;
constexpr u64 kStatus = 0x32'0000;
constexpr u64 kDiskBytes = 64 * kKiB;

class DiskServerTest : public ::testing::Test {
 protected:
  DiskServerTest() {
    MachineSpec spec = machine_spec(1, {1});  // two nodes; the vCPU is on the second
    auto& function = spec.config.functions[kFunction];
    function.kind = FunctionKind::block;
    function.queues = 2;
    function.block_bytes = function.physical_bytes = 512;
    spec.capacity[kFunction] = kDiskBytes;
    machine_ = make_machine(spec);
    disk_ = open_node_disk(*machine_, kFunction, image_.path(), kDiskBytes);
    driver_.emplace(*machine_, kFunction);
    driver_->start(virtio::kFeatureEventIdx, 2);
  }
  // One sector is read by the chain at descriptor `first`.
  void ask(u16 queue, u16 first, bool notify) {
    const u64 header = kHeader + kPageBytes * queue + 16 * first;
    driver_->store(header, virtio::BlkHeader{.type = 0, .reserved = 0, .sector = 0});
    driver_->offer(queue, {{header, 16, false}, {kData, 512, true}, {kStatus, 1, true}}, first,
                   notify);
  }
  void ring_bell() {
    const u64 one = 1;
    ASSERT_EQ(::write(disk_->server().bell().get(), &one, sizeof(one)), ssize_t{sizeof(one)});
  }
  bool used_becomes(u16 queue, u16 count) {
    for (int i = 0; i < 2000 && driver_->used(queue) != count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return driver_->used(queue) == count;
  }

  dvm::srt::testing::ImageFile image_{kDiskBytes};
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<NodeDisk> disk_;
  std::optional<MachineDriver> driver_;
};

TEST_F(DiskServerTest, ANotifiedQueueIsServed) {
  EXPECT_EQ(disk_->server().notified_before(), 0u);
  ask(1, 0, true);
  EXPECT_TRUE(used_becomes(1, 1));
  EXPECT_EQ(machine_->memory().load<u8>(kStatus).value(), 0u);
  EXPECT_EQ(disk_->server().notified_before(), 0b10u);
}

TEST_F(DiskServerTest, TheBellIsANotificationOfQueuesNotifiedBefore) {
  ask(0, 0, true);
  ASSERT_TRUE(used_becomes(0, 1));
  ask(0, 4, false);
  ask(1, 0, false);
  const auto& notifications = machine_->counters(kFunction).notifications;
  const u64 before = notifications.load();
  ring_bell();
  EXPECT_TRUE(used_becomes(0, 2));
  EXPECT_EQ(notifications.load(), before + 1);
  disk_->drain();
  EXPECT_EQ(driver_->used(1), 0u) << "no vCPU of this node has ever notified it";
}

// What a vCPU that has stopped asked for is done before the next boot's memory is.
TEST_F(DiskServerTest, DrainingLeavesNothingBehindABellThatWasNotHeard) {
  ask(0, 0, true);
  ASSERT_TRUE(used_becomes(0, 1));
  for (u16 round = 2; round < 50; ++round) {
    ask(0, 0, false);
    ring_bell();
    disk_->drain();
    ASSERT_EQ(driver_->used(0), round);
  }
}

// The driver is asked to notify of the next request whenever the thread has gone to sleep.
TEST_F(DiskServerTest, AServerThatSleepsHasAskedForANotification) {
  for (u16 round = 1; round < 50; ++round) {
    ask(0, 0, true);
    ASSERT_TRUE(used_becomes(0, round));
    disk_->drain();
    EXPECT_EQ(driver_->avail_event(0), round);
  }
}

TEST_F(DiskServerTest, ADoorbellThatTheDriverMadeUpIsNobodys) {
  for (const u32 queue : {2u, 16u, 17u, 63u, 64u, 1023u}) driver_->ring(static_cast<u16>(queue));
  disk_->drain();
  ask(0, 0, true);
  EXPECT_TRUE(used_becomes(0, 1));
}

// --- ioeventfds of another node -----------------------------------------------------------------

constexpr u64 kSlot = layout::kEcamBase + (u64{function_slot(kFunction)} << 15);
constexpr u64 kOld = layout::kPciMmioBase + kFunction * kVirtioBarBytes;

TEST_F(DiskServerTest, ABarMovesWhenNoNodeHasAnIoEventFdWhereItWas) {
  const auto node = attach_again(*machine_, kFirstNodeInstance + 1);
  auto& place = machine_->state().functions[kFunction].ioeventfd_bars[1];
  place.store(kOld);
  std::atomic<bool> moved = false;
  std::jthread vcpu([&] {
    FakeExits(*machine_).mmio_write(kSlot + pci::kBar0, 4, layout::kPciMmioBase + kMiB);
    moved = true;
  });
  auto& bell = machine_->state().nodes[1].bell;
  while (fabric::listen(bell) == 0) std::this_thread::yield();
  EXPECT_FALSE(moved);
  place.store(0);
  vcpu.join();
  EXPECT_TRUE(moved);
}

TEST_F(DiskServerTest, NobodyWaitsForTheIoEventFdsOfTheDead) {
  machine_->state().functions[kFunction].ioeventfd_bars[1].store(kOld);
  FakeExits(*machine_).mmio_write(kSlot + pci::kBar0, 4, layout::kPciMmioBase + kMiB);
  EXPECT_EQ(machine_->state().functions[kFunction].bar.load(), layout::kPciMmioBase + kMiB);
}

}  // namespace
}  // namespace dvm::vmm
