#include "hyperkernel/page_directory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "hyperkernel/guest_view.h"

namespace dvm::hyperkernel {
namespace {

TEST(DirEntry, PacksEveryFieldWithoutLoss) {
  const DirEntry full{.frame = (1ull << 32) - 1,
                      .mode = PageMode::replicated,
                      .nodes = 0xffff,
                      .mover = 16,
                      .epoch = 0x1ff};
  EXPECT_EQ(DirEntry::unpack(full.packed()), full);
  for (u32 bit = 0; bit < 64; ++bit) {
    EXPECT_EQ(DirEntry::unpack(1ull << bit).packed(), 1ull << bit) << bit;
  }
  EXPECT_EQ(DirEntry::unpack(0).mode, PageMode::absent);
}

TEST(PageDirectory, TransitionHappensOnceAndOnlyFromTheExpectedEntry) {
  std::vector<std::atomic<u64>> words(5);
  PageDirectory d(words);
  EXPECT_FALSE(d.has_changed());
  const DirEntry from = *d.lookup(2);
  const DirEntry to{.frame = 9, .mode = PageMode::owned, .nodes = only(1)};
  EXPECT_EQ(from, (DirEntry{.frame = 2, .mode = PageMode::shared}));
  EXPECT_TRUE(d.transition(2, from, to));
  EXPECT_TRUE(d.has_changed());
  EXPECT_FALSE(d.transition(2, from, to));
  EXPECT_EQ(*d.lookup(2), to);
  EXPECT_FALSE(d.lookup(4).has_value());
}

TEST(PageDirectory, BeginsPlainOrAtHome) {
  std::vector<std::atomic<u64>> words(9);
  PageDirectory d(words);
  const auto all = d.run_at(3, ~0ull, 8);
  EXPECT_EQ(all->frame, 3u);
  EXPECT_EQ(all->pages, 5u) << "without a look at them";
  EXPECT_FALSE(d.run_at(3, ~0ull, 7).ok()) << "more pages than frames";
  d.begin_at_home(6);
  EXPECT_TRUE(d.lookup(5)->at_home());
  EXPECT_EQ(d.lookup(5)->frame, 5u);
  EXPECT_EQ(d.lookup(6)->mode, PageMode::shared);
  EXPECT_EQ(d.run_at(3, ~0ull, 8)->pages, 5u);
  d.reset();
  EXPECT_FALSE(d.has_changed());
  EXPECT_EQ(*d.lookup(5), (DirEntry{.frame = 5, .mode = PageMode::shared}));
}

TEST(PageDirectory, ADamagedEntryIsNeverFollowed) {
  std::vector<std::atomic<u64>> words(5);
  PageDirectory d(words);
  const u64 plain = DirEntry{.frame = 1, .mode = PageMode::shared}.packed();
  words[1].store(DirEntry{.frame = 4, .mode = PageMode::shared}.packed() ^ plain);
  EXPECT_FALSE(d.check(4).ok()) << "nobody looks at it yet";
  EXPECT_TRUE(d.transition(0, *d.lookup(0), *d.lookup(0)));
  EXPECT_TRUE(d.run_at(0, 1, 4).ok());
  EXPECT_FALSE(d.run_at(1, 1, 4).ok());
  EXPECT_EQ(d.run_at(9, ~0ull, 4)->pages, 0u);
  for (const DirEntry bad : {DirEntry{.mode = PageMode::owned, .nodes = 0},
                             DirEntry{.mode = PageMode::owned, .nodes = 6},
                             DirEntry{.mode = PageMode::shared, .nodes = 1},
                             DirEntry{.mode = PageMode::replicated, .mover = 17}}) {
    words[1].store(bad.packed() ^ plain);
    EXPECT_FALSE(d.check(4).ok());
    EXPECT_FALSE(d.run_at(1, 1, 4).ok()) << std::hex << bad.packed();
  }
}

// gfn is not frame: with the frames in any order, each guest page is the frame its entry names.
TEST(GuestView, FollowsAPermutedDirectory) {
  constexpr u64 kPages = 256;
  fabric::PoolSpec spec{
      "",
      "view",
      {{fabric::RegionKind::page_directory, kPageDirectoryVersion, page_directory_bytes(kPages)}},
      kPages * kPageBytes};
  auto pool = fabric::Pool::create(spec);
  ASSERT_TRUE(pool.ok());
  auto directory = PageDirectory::of(*pool);
  ASSERT_TRUE(directory.ok());
  std::vector<u64> frames(kPages);
  std::iota(frames.begin(), frames.end(), 0);
  std::shuffle(frames.begin(), frames.end(), std::mt19937(3));
  for (u64 i = 0; i < kPages; ++i) {
    ASSERT_TRUE(directory->transition(i, *directory->lookup(i),
                                      {.frame = frames[i], .mode = PageMode::shared}));
  }
  // Two parts, as around the PCI hole.
  const std::vector<RamPart> parts = {{0, 100 * kPageBytes, 0},
                                      {4 * kGiB, 156 * kPageBytes, 100 * kPageBytes}};
  auto view = GuestView::map(*pool, *directory, parts);
  ASSERT_TRUE(view.ok()) << view.error().message;
  for (u64 i = 0; i < kPages; ++i) {
    const u64 gpa = i < 100 ? i * kPageBytes : 4 * kGiB + (i - 100) * kPageBytes;
    ASSERT_TRUE(view->memory().store<u64>(gpa + 8, i).ok());
  }
  const auto region = pool->region_header(fabric::RegionKind::frames, 1);
  auto raw = Mapping::shared(pool->fd(), region->offset, region->bytes, "frames");
  for (u64 i = 0; i < kPages; ++i) {
    u64 seen = 0;
    std::memcpy(&seen, raw->data() + frames[i] * kPageBytes + 8, 8);
    EXPECT_EQ(seen, i);
  }
}

}  // namespace
}  // namespace dvm::hyperkernel
