// The balloon on a whole machine: pages given up or reported leave the pool's file, for every
// process that maps it, and nothing else does.
#include <sys/stat.h>

#include "tests/unit/machine_driver.h"
#include "vmm/virtio/balloon.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u32 kFunction = 1;
constexpr u64 kFrames = 0x30'0000;  // where the driver writes page numbers
constexpr u64 kPages = 0x80'0000;   // pages that it gives up
constexpr u64 kAll = virtio::kBalloonFeatureStats | virtio::kBalloonFeatureDeflateOnOom |
                     virtio::kBalloonFeatureReporting;

class MachineBalloon : public ::testing::Test {
 protected:
  MachineBalloon() {
    MachineSpec spec = machine_spec(1);
    spec.config.functions[kFunction].kind = FunctionKind::balloon;
    machine_ = make_machine(spec);
    other_ = attach_again(*machine_, kFirstNodeInstance);
    driver_.emplace(*machine_, kFunction);
    driver_->start(kAll, 4);
    touch_zero(0x10'0000, 4 * kPageBytes);  // where the rings are
    touch(kFrames, kPageBytes);
    // The directory's words of these pages: to look at one backs them, too.
    EXPECT_TRUE(hyperkernel::PageDirectory::of(machine_->pool())->lookup(kPages / kPageBytes));
  }
  u64 backed() const {
    struct stat st {};
    EXPECT_EQ(::fstat(machine_->pool().fd().get(), &st), 0);
    return static_cast<u64>(st.st_blocks) * 512;
  }
  void touch(u64 gpa, u64 bytes) {
    ASSERT_TRUE(machine_->memory().fill(gpa, bytes, std::byte{0x5a}).ok());
  }
  void touch_zero(u64 gpa, u64 bytes) {
    ASSERT_TRUE(machine_->memory().fill(gpa, bytes, std::byte{0}).ok());
  }
  u8 byte_seen_by_other(u64 gpa) const { return other_->memory().load<u8>(gpa).value(); }
  void give_up(const std::vector<u32>& frames, u16 queue = 0) {
    for (std::size_t i = 0; i < frames.size(); ++i) driver_->store(kFrames + 4 * i, frames[i]);
    driver_->offer(queue, {{kFrames, static_cast<u32>(4 * frames.size()), false}}, 0);
  }

  std::unique_ptr<Machine> machine_, other_;
  std::optional<MachineDriver> driver_;
};

TEST_F(MachineBalloon, PagesGivenUpLeaveThePool) {
  touch(kPages, 4 * kPageBytes);
  const u64 before = backed();
  const u32 first = kPages / kPageBytes;
  give_up({first + 2, first, first + 1});
  EXPECT_EQ(driver_->used(0), 1);
  EXPECT_EQ(backed(), before - 3 * kPageBytes);
  EXPECT_EQ(byte_seen_by_other(kPages), 0) << "gone from every process's mapping";
  EXPECT_EQ(byte_seen_by_other(kPages + 3 * kPageBytes), 0x5a) << "the next page stays";
  EXPECT_EQ(machine_->state().balloon.ballooned.load(), 3 * kPageBytes);
  touch(kPages, kPageBytes);
  EXPECT_EQ(byte_seen_by_other(kPages), 0x5a) << "touched, it is there again, for all";
}

TEST_F(MachineBalloon, ABufferWithoutPagesGivesNothingUp) {
  touch(kPages, kPageBytes);
  driver_->offer(0, {{kPages, 64, true}});  // for the device to write: it names no page
  EXPECT_EQ(driver_->used(0), 1);
  EXPECT_EQ(byte_seen_by_other(kPages), 0x5a);
}

TEST_F(MachineBalloon, FreePagesThatAreReportedLeaveThePool) {
  touch(kPages, 64 * kPageBytes);
  const u64 before = backed();
  driver_->offer(
      3, {{kPages, 32 * kPageBytes, true}, {kPages + 40 * kPageBytes, 8 * kPageBytes, true}});
  EXPECT_EQ(driver_->used(3), 1);
  EXPECT_EQ(backed(), before - 40 * kPageBytes);
  EXPECT_EQ(byte_seen_by_other(kPages + 32 * kPageBytes), 0x5a);
  EXPECT_EQ(machine_->state().balloon.reported.load(), 40 * kPageBytes);
}

TEST_F(MachineBalloon, OnlyWholePagesOfABufferGo) {
  touch(kPages, 4 * kPageBytes);
  driver_->offer(3, {{kPages + 100, 2 * kPageBytes, true}});
  EXPECT_EQ(byte_seen_by_other(kPages + 100), 0x5a);
  EXPECT_EQ(byte_seen_by_other(kPages + kPageBytes), 0);
  EXPECT_EQ(byte_seen_by_other(kPages + 2 * kPageBytes), 0x5a);
}

TEST_F(MachineBalloon, WhatIsNoRamIsPassedOver) {
  const std::vector<std::byte> header(machine_->pool().metadata().begin(),
                                      machine_->pool().metadata().begin() + 4096);
  touch(kPages, kPageBytes);
  const u32 behind = static_cast<u32>(kTestMemory / kPageBytes);
  give_up({behind, behind + 1, 0xfee00, 0xffff'ffff, 0xb0000, kPages / kPageBytes});
  EXPECT_EQ(driver_->used(0), 1);
  EXPECT_EQ(machine_->state().balloon.ballooned.load(), kPageBytes);
  EXPECT_EQ(machine_->state().balloon.kept.load(), 5 * kPageBytes);
  EXPECT_TRUE(std::equal(header.begin(), header.end(), machine_->pool().metadata().begin()));
  EXPECT_EQ(driver_->status() & virtio::kStatusNeedsReset, 0);
}

TEST_F(MachineBalloon, APageThatIsNotSimplySharedStays) {
  auto directory = hyperkernel::PageDirectory::of(machine_->pool());
  const u64 page = kPages / kPageBytes;
  touch(kPages, 2 * kPageBytes);
  auto entry = *directory->lookup(page);
  auto owned = entry;
  owned.mode = hyperkernel::PageMode::owned;
  ASSERT_TRUE(directory->transition(page, entry, owned));
  give_up({static_cast<u32>(page), static_cast<u32>(page + 1)});
  EXPECT_EQ(byte_seen_by_other(kPages), 0x5a);
  EXPECT_EQ(byte_seen_by_other(kPages + kPageBytes), 0);
  EXPECT_EQ(machine_->state().balloon.kept.load(), kPageBytes);
}

TEST_F(MachineBalloon, TheTargetIsToldAndTheAnswerRead) {
  machine_->set_balloon(8 * kMiB);
  EXPECT_EQ(driver_->config(0, 4), 8 * kMiB / kPageBytes);
  driver_->write_config(4, 4, 1024);
  EXPECT_EQ(machine_->balloon_actual(), 4 * kMiB);
  driver_->write_config(0, 4, 7);
  EXPECT_EQ(driver_->config(0, 4), 8 * kMiB / kPageBytes) << "not for the driver to write";
  machine_->reset_devices();
  EXPECT_EQ(machine_->balloon_actual(), 0u);
  u32 pages = 0;
  std::memcpy(&pages,
              machine_->state().functions[kFunction].device.published().device_config.data(), 4);
  EXPECT_EQ(pages, 8 * kMiB / kPageBytes) << "a reset keeps the target";
}

TEST_F(MachineBalloon, DeflatingIsCounted) {
  give_up({1024, 1025}, 1);
  EXPECT_EQ(driver_->used(1), 1);
  EXPECT_EQ(machine_->state().balloon.deflated.load(), 2 * kPageBytes);
}

TEST_F(MachineBalloon, StatisticsAreReadWhereTheyLie) {
  const std::vector<virtio::BalloonStat> stats = {{4, 1234}, {5, 5678}, {999, 1}};
  for (std::size_t i = 0; i < stats.size(); ++i) driver_->store(kFrames + 10 * i, stats[i]);
  driver_->offer(2, {{kFrames, 30, false}}, 0);
  EXPECT_EQ(driver_->used(2), 0) << "the buffer waits until figures are wanted";
  BalloonRecord& record = machine_->state().balloon;
  EXPECT_EQ(record.stats_told.load(), 1u);
  EXPECT_EQ(record.stats[4].load(), 1234u);
  EXPECT_EQ(record.stats[5].load(), 5678u);
  EXPECT_EQ(record.stats[6].load(), kBalloonNotTold);
  machine_->request_balloon_stats();
  EXPECT_EQ(driver_->used(2), 1);
  driver_->offer(2, {{kFrames, 10, false}}, 0);
  EXPECT_EQ(record.stats_told.load(), 2u);
  EXPECT_EQ(record.stats[5].load(), kBalloonNotTold);
}

TEST_F(MachineBalloon, AChainThatADeadNodeHeldIsFinished) {
  touch(kPages, kPageBytes);
  driver_->store(kFrames, static_cast<u32>(kPages / kPageBytes));
  driver_->offer(0, {{kFrames, 4, false}}, 0, /*notify=*/false);
  other_->serve_queue(kFunction, 0, false, [&](QueueState& q, const LiveQueue&) -> Status {
    Chain chain;
    DVM_ASSIGN(const bool any, queue_pop(q, other_->memory(), chain));
    EXPECT_TRUE(any);
    queue_hold(q, chain.head, other_->self().id);
    return {};
  });
  machine_->instances().retire(other_->self(), fabric::InstanceState::dead);
  machine_->mend_devices();
  EXPECT_EQ(driver_->used(0), 1);
  EXPECT_EQ(machine_->state().functions[kFunction].queues[0].published().in_flight, 0);
  EXPECT_EQ(byte_seen_by_other(kPages), 0);
  machine_->mend_devices();
  EXPECT_EQ(driver_->used(0), 1) << "once";
}

TEST(VirtioBalloon, QueuesAreNumberedWithoutGaps) {
  using enum BalloonQueue;
  EXPECT_EQ(balloon_queue(2, kAll), stats);
  EXPECT_EQ(balloon_queue(3, kAll), reporting);
  EXPECT_EQ(balloon_queue(2, virtio::kBalloonFeatureReporting), reporting);
  EXPECT_EQ(balloon_queue(3, virtio::kBalloonFeatureReporting), none);
  EXPECT_EQ(balloon_queue(2, 0), none);
}

TEST(VirtioBalloon, LinuxReportsThirtyTwoBlocksAtOnce) { EXPECT_GE(kBalloonQueueSize, 32); }

}  // namespace
}  // namespace dvm::vmm
