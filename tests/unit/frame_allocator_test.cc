#include "fabric/frame_allocator.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "fabric/block_cache.h"

namespace dvm::fabric {
namespace {

constexpr u64 kFrames = 300, kObjectBytes = 64 * kKiB;

class FrameAllocatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto pool = Pool::create(
        {"",
         "allocator",
         {{RegionKind::allocator, kAllocatorVersion, allocator_region_bytes(kFrames, kObjectBytes)},
          {RegionKind::machine, 1, 4096}},
         kFrames * kPageBytes});
    ASSERT_TRUE(pool.ok()) << pool.error().message;
    pool_ = pool.take();
    ASSERT_TRUE(FrameAllocator::format(pool_, 0).ok());
    auto allocator = FrameAllocator::attach(pool_, instances_);
    ASSERT_TRUE(allocator.ok()) << allocator.error().message;
    allocator_.emplace(allocator.take());
    self_ = instances_.join(0, 1);
    targets_ = pool_.region_header(RegionKind::machine, 1).value().offset;
  }

  BlockCache cache(InstanceId who) {
    auto c = BlockCache::attach(*allocator_, who);
    EXPECT_TRUE(c.ok());
    return c.take();
  }
  u64 word(u64 index) { return (*allocator_->target_word(targets_ + 8 * index))->load(); }
  static void lose(BlockCache&& c) {
    static auto* const lost = new std::vector<BlockCache*>;  // reachable, so not a leak to ASan
    lost->push_back(new BlockCache(std::move(c)));
  }
  // As if the process of `who` were gone: its private memory is never looked at again.
  void die(BlockCache&& c, InstanceId who) {
    lose(std::move(c));
    instances_.retire(who, InstanceState::dead);
    EXPECT_TRUE(allocator_->recover(who, self_).ok());
  }
  void expect_all_free() {
    const AllocatorReport r = allocator_->check();
    EXPECT_TRUE(r.violations.empty()) << r.violations.front();
    EXPECT_EQ(r.frames.free, kFrames);
    EXPECT_EQ(r.objects.cached + r.objects.held + r.objects.used + r.objects.retiring, 0u);
  }

  InstanceTable instances_{};
  Pool pool_;
  std::optional<FrameAllocator> allocator_;
  InstanceId self_;
  u64 targets_ = 0;
  std::vector<std::unique_ptr<BlockCache>> gone_;
};

TEST_F(FrameAllocatorTest, GivesEveryFrameOnceAndTakesAllBack) {
  {
    BlockCache c = cache(self_);
    std::set<u64> given;
    while (const u64 frame = c.allocate_frame()) EXPECT_TRUE(given.insert(frame).second);
    EXPECT_EQ(given.size(), kFrames);
    for (const u64 frame : given) EXPECT_TRUE(c.free(frame));
    EXPECT_FALSE(c.free(*given.begin())) << "freed twice";
    EXPECT_FALSE(c.free(*given.begin() + 1)) << "no block begins there";
  }
  expect_all_free();
}

TEST_F(FrameAllocatorTest, ObjectsOfAllSizesDoNotOverlap) {
  {
    BlockCache c = cache(self_);
    std::vector<std::pair<u64, u64>> given;
    for (u64 bytes = 1; bytes <= kPageBytes; bytes += 129) {
      const u64 at = c.allocate_object(bytes);
      if (at == 0) continue;
      for (const auto& [o, n] : given) EXPECT_TRUE(at + bytes <= o || o + n <= at);
      given.emplace_back(at, bytes);
      std::fill_n(allocator_->object(at), bytes, std::byte{0xaa});
    }
    EXPECT_GT(given.size(), 20u);
    EXPECT_EQ(c.allocate_object(0), 0u);
    EXPECT_EQ(c.allocate_object(4097), 0u);
    for (const auto& [o, n] : given) EXPECT_TRUE(c.free(o));
  }
  expect_all_free();
}

TEST_F(FrameAllocatorTest, PublishedBlocksOutliveTheirMakerAndHeldOnesDoNot) {
  const InstanceId maker = instances_.join(1, 1);
  BlockCache c = cache(maker);
  const u64 published = c.allocate_frame();
  ASSERT_TRUE(c.publish(published, {targets_, 0, published, ~0ull}).value());
  c.allocate_frame();
  c.allocate_object(100);
  die(std::move(c), maker);
  const AllocatorReport r = allocator_->check();
  EXPECT_TRUE(r.violations.empty());
  EXPECT_EQ(r.frames.used, 1u);
  EXPECT_EQ(r.frames.free, kFrames - 1);
  EXPECT_EQ(r.objects.held + r.objects.cached, 0u);
  {
    BlockCache other = cache(self_);
    EXPECT_TRUE(other.retire(published, {targets_, published, 0, ~0ull}).value());
    EXPECT_FALSE(other.retire(published, {targets_, published, 0, ~0ull}).value()) << "only once";
  }
  expect_all_free();
  EXPECT_EQ(word(0), 0u);
}

TEST_F(FrameAllocatorTest, AWordThatIsNotAsExpectedLeavesTheBlockWhereItWas) {
  {
    BlockCache c = cache(self_);
    const u64 a = c.allocate_frame(), b = c.allocate_frame();
    EXPECT_TRUE(c.publish(a, {targets_, 0, a, ~0ull}).value());
    EXPECT_FALSE(c.publish(b, {targets_, 0, b, ~0ull}).value());
    EXPECT_FALSE(c.publish(a, {targets_ + 8, 0, a, ~0ull}).ok()) << "no longer held";
    EXPECT_FALSE(c.publish(b, {1ull << 40, 0, b, ~0ull}).ok()) << "target outside the pool";
    EXPECT_TRUE(c.free(b));
    EXPECT_FALSE(c.retire(a, {targets_ + 8, a, 0, ~0ull}).value()) << "that word does not name it";
    EXPECT_TRUE(c.retire(a, {targets_, a, 0, ~0ull}).value());
  }
  expect_all_free();
}

TEST_F(FrameAllocatorTest, ALogThatNamesAPlaceOutsideIsReportedNotFollowed) {
  const InstanceId dead = instances_.join(1, 1);
  BlockCache c = cache(dead);
  LogRecord& log = allocator_->header().lanes[0].log;
  log.block = 1ull << 50;
  log.op = static_cast<u32>(LogOp::publish);
  lose(std::move(c));
  instances_.retire(dead, InstanceState::dead);
  const Status s = allocator_->recover(dead, self_);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.error().message.find("no block begins at 0x4000000000000"), std::string::npos);
}

TEST_F(FrameAllocatorTest, ARejoiningInstanceRecoversItsFormerSelf) {
  const InstanceId first = instances_.join(1, 1);
  BlockCache c = cache(first);
  c.allocate_frame();
  lose(std::move(c));
  instances_.retire(first, InstanceState::dead);
  { BlockCache again = cache(instances_.join(1, 1)); }
  EXPECT_TRUE(allocator_->is_recovered(first));
  expect_all_free();
}

TEST_F(FrameAllocatorTest, AHeaderThatIsNotWholeIsRefused) {
  allocator_->header().slab_count += 1;
  EXPECT_FALSE(FrameAllocator::attach(pool_, instances_).ok());
}

TEST_F(FrameAllocatorTest, ThreadsShareTheWordsWithoutLossOrDoubling) {
  constexpr u64 kWords = 40;
  std::vector<std::thread> threads;
  for (u32 t = 1; t <= 4; ++t) {
    threads.emplace_back([this, t] {
      BlockCache c = cache(instances_.join(t % 2 + 1 == 1 ? t : 40 + t, 1));
      u64 random = t;
      for (int i = 0; i < 4000; ++i) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        const u64 at = targets_ + 8 * ((random >> 33) % kWords);
        const u64 seen = (*allocator_->target_word(at))->load();
        if (seen != 0) {
          (void)c.retire(seen, {at, seen, 0, ~0ull});
          continue;
        }
        const u64 block = (random >> 60) % 2 == 0 ? c.allocate_frame() : c.allocate_object(200);
        if (block != 0 && !c.publish(block, {at, 0, block, ~0ull}).value()) c.free(block);
      }
    });
  }
  for (auto& t : threads) t.join();
  std::set<u64> named;
  for (u64 i = 0; i < kWords; ++i) {
    if (word(i) != 0) {
      EXPECT_TRUE(named.insert(word(i)).second);
    }
  }
  const AllocatorReport r = allocator_->check();
  EXPECT_TRUE(r.violations.empty());
  EXPECT_EQ(r.frames.used + r.objects.used, named.size());
  EXPECT_EQ(r.frames.free + r.frames.used, kFrames);
}

// Everything behind the header may be damaged: what is wrong is reported or lost, and nothing
// outside the pool is touched. (AddressSanitizer looks on.)
TEST_F(FrameAllocatorTest, DamageIsNeverFollowedOutOfThePool) {
  std::mt19937_64 random(5);
  u32 complaints = 0;
  for (int round = 0; round < 300; ++round) {
    SetUp();
    const InstanceId dead = instances_.join(2, 1);
    gone_.push_back(std::make_unique<BlockCache>(cache(dead)));
    (void)gone_.back()->allocate_frame();
    const auto region = pool_.region(RegionKind::allocator, kAllocatorVersion).value();
    for (u32 flips = 1 + static_cast<u32>(random() % 300); flips != 0; --flips) {
      const u64 first = offsetof(AllocatorHeader, recovering);
      const u64 at = first + random() % (flips % 2 == 0 ? 40'000 : region.size() - first);
      region[at] ^= static_cast<std::byte>(1u << random() % 8);
    }
    allocator_->header().recovering.owner.store(0);  // or somebody living might be waited for
    instances_.retire(dead, InstanceState::dead);
    complaints += allocator_->recover(dead, self_).ok() ? 0u : 1u;
    complaints += allocator_->check().violations.empty() ? 0u : 1u;
    auto attached = BlockCache::attach(*allocator_, self_);
    if (!attached.ok()) continue;
    for (u64 i = 0; i < 60; ++i) {
      const u64 block = i % 2 == 0 ? attached->allocate_frame() : attached->allocate_object(1 + i);
      const u64 target = targets_ + 8 * i;
      if (block == 0) continue;
      const auto published = attached->publish(block, {target, 0, block, ~0ull});
      if (published.ok() && published.value())
        (void)attached->retire(block, {target, block, 0, ~0ull});
    }
  }
  EXPECT_GT(complaints, 0u);
  static auto* const lost = new std::vector<std::unique_ptr<BlockCache>>;  // as in die()
  lost->swap(gone_);
}

}  // namespace
}  // namespace dvm::fabric
