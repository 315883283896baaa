#include "hyperkernel/pager.h"

#include <sys/stat.h>

#include <random>

#include "tests/unit/pager_fixture.h"

namespace dvm::hyperkernel {
namespace {

u64 faults(const PagedPool& world, u32 node) {
  return world.coherence().node(node).counters.faults.load();
}

TEST(Pager, WhatOneNodeWritesTheOthersRead) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(64, 0);
  auto a = world.node(0), b = world.node(1), c = world.node(2);
  for (u64 page = 0; page < 64; ++page) word(*a, page).store(page + 1);
  for (u64 page = 0; page < 64; ++page) {
    EXPECT_EQ(word(*b, page).load(), page + 1);
    word(*b, page, 1).store(7);
  }
  for (u64 page = 0; page < 64; ++page) {
    EXPECT_EQ(word(*c, page).load(), page + 1);
    EXPECT_EQ(word(*a, page, 1).load(), 7u);
  }
}

TEST(Pager, TellsOfEachFaultThatItServed) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(64, 0);
  std::mutex mutex;
  std::vector<ServedFault> seen;
  PagerOptions options;
  options.seen = [&](const ServedFault& fault) {
    const std::lock_guard guard(mutex);
    seen.push_back(fault);
  };
  auto a = world.node(0), b = world.node(1, std::move(options));
  word(*a, 9).store(1);
  word(*b, 9).store(2);
  const auto told_of = [&](std::size_t count) {
    for (int i = 0; i < 1000; ++i) {
      if (const std::lock_guard guard(mutex); seen.size() >= count) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  };
  ASSERT_TRUE(told_of(1));
  EXPECT_EQ(seen[0].page, 9u);
  EXPECT_TRUE(seen[0].before.owned_by(0));
  EXPECT_TRUE(seen[0].writes);
  EXPECT_EQ(seen[0].thread, static_cast<u32>(::gettid()));
  EXPECT_GT(seen[0].took_ns, 0u);
  // A page that is not looked at faults no more; one that is, once.
  EXPECT_EQ(word(*b, 9).load(), 2u);
  b->sample(9);
  EXPECT_EQ(word(*b, 9).load(), 2u);
  ASSERT_TRUE(told_of(2));
  EXPECT_TRUE(seen[1].before.owned_by(1));
  EXPECT_EQ(word(*b, 9).load(), 2u);
  EXPECT_EQ(seen.size(), 2u);
}

TEST(Pager, PagesThatNobodyWroteTakeNoFrame) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(1024, 0);
  auto a = world.node(0), b = world.node(1);
  struct stat before {
  }, after{};
  ASSERT_EQ(::fstat(world.pool.fd().get(), &before), 0);
  for (u64 page = 0; page < 1024; ++page) word(*a, page, 5).store(page);
  ASSERT_EQ(::fstat(world.pool.fd().get(), &after), 0);
  EXPECT_LT(after.st_blocks - before.st_blocks, 64 * 8);
  for (u64 page = 0; page < 1024; ++page) {
    ASSERT_EQ(word(*b, page, 5).load(), page);
    ASSERT_EQ(word(*b, page, 6).load(), 0u);
  }
}

// Pages in frames go home again, and on from there; who still has the frame's place in its view
// sees what is written elsewhere afterwards.
TEST(Pager, APageLeavesItsFrameAndNothingOldIsSeen) {
  DVM_NEEDS_USERFAULTFD();
  constexpr u64 kPages = 128;
  PagedPool world(kPages, 256);
  auto a = world.node(0), b = world.node(1, {.shards = 2}), c = world.node(2);
  for (u64 page = 0; page < kPages; ++page) word(*a, page).store(page + 1);
  for (u64 round = 0; round < 3; ++round) {
    ASSERT_TRUE(a->mover().move({0, kPages}, Want::share).ok());
    for (auto* node : {a.get(), b.get(), c.get()}) {
      for (u64 page = 0; page < kPages; ++page) word(*node, page).fetch_add(1);
    }
    ASSERT_EQ(world.entry(0).mode, PageMode::shared);
    ASSERT_TRUE(c->mover().move({0, kPages}, Want::unshare).ok());
    EXPECT_EQ(world.coherence().frames_in_use(), 0u);
    for (u64 page = 0; page < kPages; ++page) {
      ASSERT_TRUE(world.entry(page).at_home()) << page;
      ASSERT_EQ(world.entry(page).frame, page);
    }
    // By one who had the frame mapped; read by those who had it mapped too.
    for (u64 page = 0; page < kPages; ++page) {
      const u64 is = page + 1 + (round + 1) * 3 + round;
      ASSERT_EQ(word(*b, page).load(), is) << page;
      word(*b, page).fetch_add(1);
      ASSERT_EQ(word(*a, page).load(), is + 1) << page;
      ASSERT_EQ(word(*c, page).load(), is + 1) << page;
    }
  }
  EXPECT_EQ(world.coherence().node(2).counters.unshared.load(), 3 * kPages);
}

// While all write: what is guarded, emptied and dropped under their hands loses nothing.
TEST(Pager, PagesLeaveTheirFramesWhileAllWrite) {
  DVM_NEEDS_USERFAULTFD();
  constexpr u64 kPages = 64, kLeave = 500;
  PagedPool world(kPages, 64);
  std::vector<std::unique_ptr<Pager>> nodes;
  for (u32 n = 0; n < 3; ++n) nodes.push_back(world.node(n));
  std::vector<std::thread> threads;
  std::atomic<bool> over{false};
  std::atomic<u64> added{0};
  for (u32 t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      u64 mine = 0;
      for (; !over.load(std::memory_order_relaxed); ++mine)
        word(*nodes[t], random() % kPages).fetch_add(1);
      added += mine;
    });
  }
  const auto left = [&] {
    u64 sum = 0;
    for (u32 n = 0; n < 3; ++n) sum += world.coherence().node(n).counters.unshared.load();
    return sum;
  };
  const u64 until = fabric::monotonic_ns() + 60'000'000'000;
  for (u64 i = 0; left() < kLeave && fabric::monotonic_ns() < until; ++i) {
    EXPECT_TRUE(nodes[i % 3]->mover().move({i * 16 % kPages, 16}, Want::unshare).ok());
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  over.store(true);
  for (auto& t : threads) t.join();
  EXPECT_GE(left(), kLeave);
  u64 sum = 0;
  for (u64 page = 0; page < kPages; ++page) sum += word(*nodes[0], page).load();
  EXPECT_EQ(sum, added.load());
}

// The hand takes out what one node alone has used since it passed, and leaves what two use.
TEST(Pager, TheColdestLeaveAFullRegion) {
  DVM_NEEDS_USERFAULTFD();
  constexpr u64 kPages = 4 * kFrameGroup;
  PagedPool world(kPages, kPages);
  auto a = world.node(0), b = world.node(1);
  for (u64 page = 0; page < kPages; ++page) word(*a, page).store(page);
  ASSERT_TRUE(a->mover().move({0, kPages}, Want::share).ok());
  const auto directory = PageDirectory::of(world.pool).take();
  const auto coherence = world.coherence();
  RegionClock clock(directory, coherence, a->mover());
  const auto freed = clock.turn(kPages);
  ASSERT_TRUE(freed.ok());
  EXPECT_EQ(*freed, 0u) << "passed for the first time";
  for (u64 page = 0; page < kPages; ++page) {
    word(*a, page).fetch_add(1);
    if (page < kPages / 2) word(*b, page).fetch_add(1);
  }
  const auto again = clock.turn(kPages);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, kPages / 2);
  for (u64 page = 0; page < kPages; ++page) {
    ASSERT_EQ(world.entry(page).mode == PageMode::shared, page < kPages / 2) << page;
    ASSERT_EQ(word(*b, page).load(), page + (page < kPages / 2 ? 2 : 1));
  }
}

TEST(Pager, AReplicatedPageIsReadWithNoFurtherFault) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(64, 0);
  auto a = world.node(0), b = world.node(1);
  word(*a, 9).store(5);
  EXPECT_EQ(word(*b, 9).load(), 5u);
  const u64 before = faults(world, 0) + faults(world, 1);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(word(*a, 9).load(), 5u);
    EXPECT_EQ(word(*b, 9).load(), 5u);
  }
  EXPECT_EQ(faults(world, 0) + faults(world, 1), before);
  EXPECT_EQ(world.entry(9).nodes, 0b11);
  word(*a, 9).store(6);
  EXPECT_TRUE(world.entry(9).owned_by(0));
  EXPECT_EQ(word(*b, 9).load(), 6u);
}

u64 put_in_shared_mode(const PagedPool& world) {
  u64 pages = 0;
  for (u32 node = 0; node < 3; ++node) pages += world.coherence().node(node).counters.shared.load();
  return pages;
}

// Counters in few pages, which three nodes with two threads each add to.
void add_from_everywhere(u64 shared_frames, u64 local_pages) {
  constexpr u64 kPages = 512, kAdds = 4000;
  PagedPool world(kPages, shared_frames);
  std::vector<std::unique_ptr<Pager>> nodes;
  for (u32 n = 0; n < 3; ++n)
    nodes.push_back(world.node(n, {.local_pages = local_pages, .shards = 2}));
  std::vector<std::thread> threads;
  for (u32 t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (u64 i = 0; i < kAdds; ++i) {
        const u64 page = random() % 4 == 0 ? random() % kPages : random() % 3;
        word(*nodes[t % 3], page).fetch_add(1);
      }
    });
  }
  for (auto& t : threads) t.join();
  u64 sum = 0;
  for (u64 page = 0; page < kPages; ++page) sum += word(*nodes[0], page).load();
  EXPECT_EQ(sum, 6 * kAdds);
  // Were shared, not are: a page that few frames are left for may be owned again by now.
  EXPECT_EQ(put_in_shared_mode(world) != 0, shared_frames != 0);
}

TEST(Pager, NothingIsLostBetweenNodesThatAllWrite) {
  DVM_NEEDS_USERFAULTFD();
  add_from_everywhere(0, 0);
}

TEST(Pager, HotPagesAreShared) {
  DVM_NEEDS_USERFAULTFD();
  add_from_everywhere(64, 0);
}

TEST(Pager, NothingIsLostWithLittleLocalMemory) {
  DVM_NEEDS_USERFAULTFD();
  add_from_everywhere(2, kMinLocalPages);
}

// x86-TSO across nodes: two stores of one node are seen in their order by another.
TEST(Pager, StoresAreSeenInTheirOrder) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(64, 0);
  auto a = world.node(0), b = world.node(1);
  std::atomic<bool> over{false};
  std::thread writer([&] {
    for (u64 i = 1; !over.load(); ++i) {
      word(*a, 3).store(i, std::memory_order_relaxed);
      word(*a, 40).store(i, std::memory_order_release);
    }
  });
  u64 last = 0;
  for (int changes = 0; changes < 500;) {
    const u64 second = word(*b, 40).load(std::memory_order_acquire);
    const u64 first = word(*b, 3).load(std::memory_order_relaxed);
    EXPECT_GE(first, second);
    EXPECT_GE(second, last);
    changes += second != last ? 1 : 0;
    last = second;
  }
  over.store(true);
  writer.join();
}

TEST(Pager, LocalMemoryStaysWithinItsLimit) {
  DVM_NEEDS_USERFAULTFD();
  constexpr u64 kPages = 2048;
  PagedPool world(kPages, 0);
  auto a = world.node(0, {.local_pages = kMinLocalPages}), b = world.node(1);
  const auto mine = LocalMemory::reach(world.coherence().node(0));
  for (u64 page = 0; page < kPages; ++page) {
    word(*a, page).store(page * 3);
    EXPECT_LE(mine->pages_present(), kMinLocalPages);
  }
  EXPECT_GT(world.coherence().node(0).counters.evicted.load(), kPages / 2);
  for (u64 page = 0; page < kPages; ++page) ASSERT_EQ(word(*a, page).load(), page * 3);
  for (u64 page = 0; page < kPages; ++page) ASSERT_EQ(word(*b, page).load(), page * 3);
}

TEST(Pager, ANodeThatLeavesKeepsNothing) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(256, 0);
  auto a = world.node(0), b = world.node(1);
  for (u64 page = 0; page < 256; ++page) word(*b, page).store(page + 5);
  EXPECT_EQ(word(*a, 7).load(), 12u);
  b->rest();
  ASSERT_TRUE(b->leave().ok());
  b.reset();
  for (u64 page = 0; page < 256; ++page) {
    EXPECT_EQ(world.entry(page).nodes & 0b10, 0) << page;
    EXPECT_EQ(word(*a, page).load(), page + 5);
  }
}

// A copy of a node that rests is only marked; the node discards it before it runs again.
TEST(Pager, ANodeThatRestsIsNotWaitedForAndSeesNothingOld) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(64, 0);
  auto a = world.node(0), b = world.node(1);
  word(*a, 4).store(1);
  EXPECT_EQ(word(*b, 4).load(), 1u);
  b->rest();
  word(*a, 4).store(2);
  const auto theirs = LocalMemory::reach(world.coherence().node(1));
  EXPECT_TRUE(theirs->has(4));  // nobody touched it
  EXPECT_TRUE(world.entry(4).owned_by(0));
  ASSERT_TRUE(b->begin().ok());
  EXPECT_FALSE(theirs->has(4));
  EXPECT_EQ(word(*b, 4).load(), 2u);
}

TEST(Pager, ADamagedEntryEndsInAnError) {
  DVM_NEEDS_USERFAULTFD();
  PagedPool world(64, 0);
  auto a = world.node(0);
  const DirEntry bad{.frame = 1ull << 31, .mode = PageMode::replicated};
  ASSERT_TRUE(PageDirectory::of(world.pool)->transition(5, world.entry(5), bad));
  const auto moved = a->mover().move({5, 1}, Want::write);
  ASSERT_FALSE(moved.ok());
  EXPECT_NE(moved.error().message.find("page 5"), std::string::npos);
}

}  // namespace
}  // namespace dvm::hyperkernel
