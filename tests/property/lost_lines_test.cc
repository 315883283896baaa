// A process dies with lines that it had not written back; some of them had been evicted before, in
// any order. What it had published is whole, what it had not is not there.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <random>

#include "fabric/block_cache.h"
#include "fabric/event_log.h"
#include "fabric/failpoint.h"
#include "fabric/line_buffer.h"

namespace dvm::fabric {
namespace {

constexpr std::array<std::string_view, 7> kAllocatorPoints = {
    "lines.staged",           "allocator.publish_logged",   "allocator.publish_exchanged",
    "allocator.claim_logged", "allocator.retire_exchanged", "allocator.retire_logged",
    "allocator.claimed"};

u32 rounds() {
  const char* text = std::getenv("DVM_ROUNDS");
  return text == nullptr ? 100 : static_cast<u32>(std::atoi(text));
}
u64 base_seed() {
  const char* text = std::getenv("DVM_SEED");
  return text == nullptr ? 1 : static_cast<u64>(std::atoll(text));
}

struct Shared {
  FaultTable points;
  std::atomic<u64> staged;
  InstanceTable instances;
  EventLog events;
  struct Toy {  // published by `ready`
    std::array<std::atomic<u64>, 24> content;
    alignas(64) std::atomic<u64> ready;
  } toy;
};

class LostLines : public ::testing::Test {
 protected:
  void SetUp() override {
    void* p =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    shared_ = static_cast<Shared*>(p);
    shared_->staged.store(~u64{0});
  }
  void TearDown() override { ::munmap(shared_, sizeof(Shared)); }

  // Runs `body` in a process whose lines are staged, and which dies at the point.
  template <typename Body>
  void dies(u64 seed, std::string_view point, u32 skip, Body body) {
    ASSERT_TRUE(arm_fault(shared_->points, point, FaultAction::kill, skip, ~0u, 0));
    const pid_t pid = ::fork();
    if (pid == 0) {
      watch_staging(&shared_->staged, 1, seed);
      watch_faults(&shared_->points, 1);
      body();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    disarm_faults(shared_->points, 0);
    if (WIFSIGNALED(status)) ++deaths_;
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  }

  Shared* shared_ = nullptr;
  u32 deaths_ = 0;
};

TEST_F(LostLines, AnEventIsWholeOrNotThere) {
  for (u64 seed = base_seed(); seed < base_seed() + rounds(); ++seed) {
    std::mt19937_64 random(seed);
    const InstanceId writer = shared_->instances.join(1, 1);
    const u64 before = shared_->events.tail.load();
    const auto point = random() % 3 == 0 ? "event_log.written" : "lines.staged";
    dies(seed, point, static_cast<u32>(random() % 20), [&] {
      for (u64 n = before; n < before + 30; ++n)
        append_event(shared_->events, writer, shared_->instances, EventKind::warning,
                     {n, n * 3, ~n});
    });
    shared_->instances.retire(writer, InstanceState::dead);
    const InstanceId survivor = shared_->instances.join(2, 2);
    const u64 n = shared_->events.tail.load();
    append_event(shared_->events, survivor, shared_->instances, EventKind::warning, {n, n * 3, ~n});
    u64 expected = before;
    read_events(shared_->events, before, [&](const Event& event) {
      ASSERT_EQ(event.sequence, expected + 1) << "seed " << seed;
      ASSERT_EQ(event.arguments, (std::array<u64, 3>{expected, expected * 3, ~expected}))
          << "seed " << seed;
      ++expected;
    });
    ASSERT_EQ(expected, shared_->events.tail.load()) << "seed " << seed;
  }
  EXPECT_GT(deaths_, rounds() / 2);
}

TEST_F(LostLines, TheAllocatorsRedoLogIsReadOnlyWhenWhole) {
  constexpr u64 kFrames = 256;
  auto pool = Pool::create(
      {"",
       "lost-lines",
       {{RegionKind::allocator, kAllocatorVersion, allocator_region_bytes(kFrames, 64 * kKiB)},
        {RegionKind::machine, 1, 4096}},
       kFrames * kPageBytes});
  ASSERT_TRUE(pool.ok()) << pool.error().message;
  ASSERT_TRUE(FrameAllocator::format(*pool, 0).ok());
  auto allocator = FrameAllocator::attach(*pool, shared_->instances);
  ASSERT_TRUE(allocator.ok()) << allocator.error().message;
  const u64 words = pool->region_header(RegionKind::machine, 1)->offset;
  const InstanceId self = shared_->instances.join(0, 1);
  for (u64 seed = base_seed(); seed < base_seed() + rounds(); ++seed) {
    std::mt19937_64 random(seed);
    const InstanceId worker = shared_->instances.join(1, 1);
    dies(seed, kAllocatorPoints[random() % kAllocatorPoints.size()],
         static_cast<u32>(random() % 20), [&] {
           auto cache = BlockCache::attach(*allocator, worker);
           if (!cache.ok()) ::_exit(2);
           for (int i = 0; i < 40; ++i) {
             const u64 target = words + 8 * (random() % 64);
             const u64 there = (*allocator->target_word(target))->load();
             if (there != 0) {
               (void)cache->retire(there, {.target = target, .expected = there, .desired = 0});
             } else if (const u64 block = cache->allocate_frame(); block != 0) {
               (void)cache->publish(block, {.target = target, .expected = 0, .desired = block});
             }
           }
         });
    shared_->instances.retire(worker, InstanceState::dead);
    ASSERT_TRUE(allocator->recover(worker, self).ok()) << "seed " << seed;
    u64 named = 0;
    for (u64 i = 0; i < 64; ++i)
      named += (*allocator->target_word(words + 8 * i))->load() != 0 ? 1 : 0;
    const AllocatorReport report = allocator->check();
    ASSERT_TRUE(report.violations.empty()) << "seed " << seed << ": " << report.violations.front();
    ASSERT_EQ(report.frames.used, named) << "seed " << seed;
    ASSERT_EQ(report.frames.free + report.frames.used, kFrames) << "seed " << seed;
  }
  EXPECT_GT(deaths_, rounds() / 2);
}

// The shim finds a protocol that publishes first: most such deaths leave a record that is not
// whole.
TEST_F(LostLines, PublishingBeforeWritingBackIsFound) {
  Shared::Toy& toy = shared_->toy;
  const auto torn_after = [&](u64 seed, bool mistake) {
    for (auto& word : toy.content) word.store(0);
    toy.ready.store(0);
    dies(seed, "lines.staged", 0, [&] {
      LineBuffer lines;
      for (u64 i = 0; i < 12; ++i) lines.store(toy.content[2 * i], i + 1);
      if (mistake) toy.ready.store(1);
      lines.write_back();
      toy.ready.store(1);
    });
    if (toy.ready.load() == 0) return false;
    for (u64 i = 0; i < 12; ++i) {
      if (toy.content[2 * i].load() != i + 1) return true;
    }
    return false;
  };
  u32 found = 0;
  for (u64 seed = 1; seed <= 50; ++seed) {
    EXPECT_FALSE(torn_after(seed, false)) << "seed " << seed;
    found += torn_after(seed, true) ? 1 : 0;
  }
  EXPECT_GT(found, 25u);
}

TEST_F(LostLines, WithoutTheFaultEveryStoreIsThereAtOnce) {
  LineBuffer lines;
  lines.store(shared_->toy.content[0], 5);
  EXPECT_EQ(shared_->toy.content[0].load(), 5u);
}

TEST_F(LostLines, WhatIsNotWrittenBackIsDropped) {
  watch_staging(&shared_->staged, 1);
  {
    LineBuffer lines;
    lines.store(shared_->toy.content[0], 5);
    EXPECT_EQ(shared_->toy.content[0].load(), 0u);
  }
  EXPECT_EQ(shared_->toy.content[0].load(), 0u);
  {
    LineBuffer lines;
    for (u64 i = 0; i < 24; ++i) lines.store(shared_->toy.content[i], i + 1);
    EXPECT_EQ(shared_->toy.content[0].load(), 1u) << "more than it has room for: the oldest line";
    lines.write_back();
  }
  EXPECT_EQ(shared_->toy.content[23].load(), 24u);
  watch_staging(nullptr, 0);
}

}  // namespace
}  // namespace dvm::fabric
