// What a guest is known to want is read ahead of it, from a real file: its reads then need no disk,
// writes that come in between win, and what one node began another ends.
#include "vmm/disk_warmer.h"

#include <chrono>
#include <thread>

#include "srt/block_runs.h"
#include "tests/unit/disk_fixture.h"
#include "tests/unit/machine_driver.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: machines to test with
using srt::BlockKey;
using srt::BlockRun;
using srt::kBlockBytes;

constexpr int kPatienceMs = 60'000;  // on a busy machine, under a sanitizer
constexpr u16 kFunction = 1;
constexpr u64 kBlocks = 2048;
constexpr u64 kHeader = 0x30'0000, kStatus = 0x32'0000, kData = 0x40'0000;

class DiskWarmerTest : public ::testing::Test {
 protected:
  DiskWarmerTest() {
    MachineSpec spec = machine_spec(1, {1});  // two nodes; the vCPU is on the second
    auto& function = spec.config.functions[kFunction];
    function.kind = FunctionKind::block;
    function.queues = 1;
    function.block_bytes = function.physical_bytes = 512;
    spec.capacity[kFunction] = kBlocks * kBlockBytes;
    spec.replica_bytes = 16 * kMiB;
    machine_ = make_machine(spec);
    const auto file = Fd::open(image_.path(), O_RDWR).take();
    std::vector<std::byte> block(kBlockBytes);
    for (u64 n = 0; n < kBlocks; ++n) {
      std::ranges::fill(block, value_of(n));
      EXPECT_TRUE(file.pwrite_all(block, n * kBlockBytes, "image").ok());
    }
    disks_.push_back(open_node_disk(*machine_, kFunction, image_.path(), kBlocks * kBlockBytes));
    warmer_.emplace(*machine_, disks_);
    driver_.emplace(*machine_, kFunction);
    driver_->start(virtio::kBlkFeatureFlush, 1);
  }
  static std::byte value_of(u64 block) { return static_cast<std::byte>(block * 7 + 1); }

  srt::ReplicaTable& table() { return *machine_->replicas(); }
  bool warms(const std::vector<BlockRun>& runs) {
    table().want(runs);
    warmer_->look(nullptr);
    return becomes_warm();
  }
  bool becomes_warm() {
    for (int i = 0; i < kPatienceMs && !is_warm(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return is_warm();
  }
  bool is_warm() {
    return table().warmed().load() == table().wanted().size() && table().warmer().load() == 0;
  }
  // The rest are for what is written.
  u32 frames_for_reads() {
    return static_cast<u32>(table().kept_frames() - table().kept_frames() / 4);
  }
  bool is_known(u64 block) { return table().find({kFunction, block}).has_value(); }
  // Blocks [first, first + count) go where the guest looks, or come from there.
  void ask(bool write, u64 first, u32 count) {
    driver_->store(kHeader,
                   virtio::BlkHeader{.type = write ? 1u : 0u, .reserved = 0, .sector = first * 8});
    const u16 before = driver_->used(0);
    driver_->offer(0, {{kHeader, 16, false},
                       {kData, count * static_cast<u32>(kBlockBytes), !write},
                       {kStatus, 1, true}});
    for (int i = 0; i < kPatienceMs && driver_->used(0) == before; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ASSERT_NE(driver_->used(0), before);
    ASSERT_EQ(machine_->memory().load<u8>(kStatus).value(), 0u);
  }
  u64 reads_served() { return table().figures().reads_served.load(); }

  dvm::srt::testing::ImageFile image_{kBlocks * kBlockBytes};
  std::unique_ptr<Machine> machine_;
  std::vector<std::unique_ptr<NodeDisk>> disks_;
  std::optional<DiskWarmer> warmer_;
  std::optional<MachineDriver> driver_;
};

TEST_F(DiskWarmerTest, ReadsOfWhatWasReadAheadNeedNoDisk) {
  ASSERT_TRUE(warms({{.first = 512, .blocks = 512, .disk = kFunction},
                     {.first = 3, .blocks = 1, .disk = kFunction},
                     {.first = 2047, .blocks = 1, .disk = kFunction}}));
  const auto& figures = table().figures();
  EXPECT_EQ(figures.ahead.load(), 514u);
  EXPECT_EQ(figures.ahead_reads.load(), 4u) << "1 MiB at a time";
  EXPECT_EQ(figures.ahead_bytes.load(), 514 * kBlockBytes);
  u64 asked = 0;
  for (u64 first = 512; first < 1024; first += 64, ++asked) {
    ask(false, first, 64);
    for (u64 n = 0; n < 64; ++n)
      ASSERT_EQ(machine_->memory().load<std::byte>(kData + n * kBlockBytes).value(),
                value_of(first + n));
  }
  EXPECT_EQ(reads_served(), asked);
  EXPECT_EQ(figures.ahead_used.load(), 512u);
  EXPECT_EQ(table().kept_in_use(), 2u) << "what the guest has been given has left its frame";
  ask(false, 2, 1);
  EXPECT_EQ(reads_served(), asked);
  ask(false, 2047, 1);
  EXPECT_EQ(reads_served(), asked + 1);
}

TEST_F(DiskWarmerTest, WhatTheGuestWritesInTheMeantimeWins) {
  auto prefetch = disks_[0]->prefetch().take();
  for (u64 round = 0; round < 100; ++round) {
    const u64 first = round * 16;
    const std::byte now = value_of(first) ^ std::byte{0xff};
    ASSERT_TRUE(machine_->memory().fill(kData, 16 * kBlockBytes, now).ok());
    std::jthread reads([&] { prefetch->read({.first = first, .blocks = 16, .disk = kFunction}); });
    ask(true, first, 16);
    reads.join();
    prefetch->drain();
    ASSERT_TRUE(machine_->memory().fill(kData, 16 * kBlockBytes, std::byte{0}).ok());
    ask(false, first, 16);
    for (u64 n = 0; n < 16; ++n)
      ASSERT_EQ(machine_->memory().load<std::byte>(kData + n * kBlockBytes).value(), now);
  }
}

TEST_F(DiskWarmerTest, NoMoreIsReadThanThereAreFramesFor) {
  const u32 frames = frames_for_reads();
  ASSERT_LT(frames, kBlocks);
  table().want(std::array{BlockRun{.first = 0, .blocks = kBlocks, .disk = kFunction}});
  warmer_->look(nullptr);
  // Landed, not only begun: what the guest reads itself before then leaves its frame in use.
  for (int i = 0; i < kPatienceMs && table().figures().ahead.load() < frames; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(table().kept_in_use(), frames);
  EXPECT_EQ(table().warmed().load(), 0u);
  // Frames that the guest has no need of any more are for what is to come.
  for (u64 first = 0; first < 512; first += 64) ask(false, first, 64);
  for (int i = 0; i < kPatienceMs && table().figures().ahead.load() < frames + 256; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GE(table().figures().ahead.load(), frames + 256);
  warmer_->stop();
  EXPECT_EQ(table().warmer().load(), 0u);
}

TEST_F(DiskWarmerTest, WhatIsNoDisksOrBeyondItsEndIsPassedOver) {
  ASSERT_TRUE(warms({{.first = 0, .blocks = 1, .disk = 7},
                     {.first = kBlocks, .blocks = 1, .disk = kFunction},
                     {.first = 1, .blocks = static_cast<u32>(kBlocks), .disk = kFunction},
                     {.first = ~u64{0}, .blocks = ~0u, .disk = 0xffff},
                     {.first = 5, .blocks = 1, .disk = kFunction}}));
  EXPECT_EQ(table().figures().ahead.load(), 1u);
  EXPECT_TRUE(is_known(5));
}

TEST_F(DiskWarmerTest, AnotherGoesOnWhereOneThatDiedHadCome) {
  const auto other = attach_again(*machine_, kFirstNodeInstance);
  table().want(std::array{BlockRun{.first = 0, .blocks = 4, .disk = kFunction},
                          BlockRun{.first = 8, .blocks = 4, .disk = kFunction}});
  table().warmer().store(other->self().packed());
  table().warmed().store(1);
  warmer_->look(nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(table().warmed().load(), 1u);
  machine_->instances().retire(other->self(), fabric::InstanceState::dead);
  warmer_->look(nullptr);
  ASSERT_TRUE(becomes_warm());
  EXPECT_FALSE(is_known(0));
  EXPECT_TRUE(is_known(11));
}

TEST_F(DiskWarmerTest, WhatWasNotAskedForIsNotWantedNextTime) {
  ASSERT_TRUE(warms({{.first = 0, .blocks = 256, .disk = kFunction}}));
  EXPECT_TRUE(srt::used_blocks(table()).empty());
  ask(false, 16, 8);
  const auto runs = srt::runs_of(srt::used_blocks(table()), {.blocks = 1000, .runs = 1000});
  EXPECT_EQ(runs, (std::vector<BlockRun>{{.first = 16, .blocks = 8, .disk = kFunction}}));
}

// What the guest needs takes the place of what it has not asked for.
TEST_F(DiskWarmerTest, WhatWasNotAskedForIsTheFirstToGo) {
  u64 next = 0;
  while (table().kept_in_use() < frames_for_reads()) {
    const BlockKey key{kFunction, ++next};
    EXPECT_TRUE(next % 2 == 0 ? table().keep(key, 1) : table().keep_ahead(key));
  }
  EXPECT_FALSE(table().keep_ahead({kFunction, ++next}));
  std::vector<bool> ahead;
  for (u64 frame = 0; frame < frames_for_reads(); ++frame) ahead.push_back(table().is_ahead(frame));
  EXPECT_EQ(std::ranges::count(ahead, true), std::ssize(ahead) / 2);
  for (u32 n = 0; n < 32; ++n) {
    const auto frame = table().keep({kFunction, ++next}, 2);
    ASSERT_TRUE(frame);
    EXPECT_TRUE(ahead[*frame]) << "and not one that was used in the boot before";
    EXPECT_FALSE(table().is_ahead(*frame));
  }
}

}  // namespace
}  // namespace dvm::vmm
