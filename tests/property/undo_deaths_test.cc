// Processes write to pages of one memory, each saved before it is first written in an epoch, and
// are killed at any moment: what is put back is what the epoch began with, to the byte.
//   DVM_SEED: the random numbers; DVM_ROUNDS: how many epochs
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "hyperkernel/undo_log.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kPages = 48;
constexpr u32 kWriters = 3;

u64 number_from(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

fabric::Pool make_pool(u64 pages) {
  fabric::PoolSpec spec;
  spec.name = "undo";
  spec.frames_bytes = pages * kPageBytes;
  spec.metadata = {{fabric::RegionKind::undo, kUndoVersion, undo_region_bytes(pages)}};
  auto pool = fabric::Pool::create(spec).take();
  EXPECT_TRUE(UndoLog::format(pool, pages).ok());
  return pool;
}

// RAM, in memory that all of them share.
class Memory {
 public:
  Memory() {
    void* p = ::mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(p, MAP_FAILED);
    bytes_ = static_cast<std::byte*>(p);
  }
  ~Memory() { ::munmap(bytes_, kPages * kPageBytes); }
  std::byte* page(u64 gfn) const { return bytes_ + gfn * kPageBytes; }
  std::vector<std::byte> copy() const { return {bytes_, bytes_ + kPages * kPageBytes}; }

 private:
  std::byte* bytes_;
};

// As a node: a page is writable to it once it has captured it.
[[noreturn]] void write_for_ever(const fabric::Pool& pool, const Memory& memory, u32 epoch,
                                 u64 seed) {
  auto log = UndoLog::of(pool).take();
  std::mt19937_64 random(seed);
  std::array<bool, kPages> writable{};
  for (;;) {
    const u64 gfn = random() % kPages;
    if (!writable[gfn] && !log.capture(epoch, gfn, memory.page(gfn))) ::_exit(1);
    writable[gfn] = true;
    auto* word = reinterpret_cast<std::atomic<u64>*>(memory.page(gfn)) + random() % 512;
    word->store(random(), std::memory_order_relaxed);
  }
}

TEST(UndoDeaths, WhatIsPutBackIsWhatTheEpochBeganWith) {
  const u64 seed = number_from("DVM_SEED", 1), rounds = number_from("DVM_ROUNDS", 150);
  const fabric::Pool pool = make_pool(kPages);
  const auto log = UndoLog::of(pool).take();
  const Memory memory;
  std::mt19937_64 random(seed);
  u64 saved = 0;
  for (u32 epoch = 1; epoch <= rounds; ++epoch) {
    const auto before = memory.copy();
    std::array<pid_t, kWriters> writers{};
    for (pid_t& writer : writers) {
      const u64 its = random();
      writer = ::fork();
      if (writer == 0) write_for_ever(pool, memory, epoch, its);
    }
    for (const pid_t writer : writers) {
      ::usleep(static_cast<useconds_t>(random() % 700));
      ::kill(writer, SIGKILL);
    }
    for (const pid_t writer : writers) {
      int status = 0;
      ::waitpid(writer, &status, 0);
      EXPECT_TRUE(WIFSIGNALED(status)) << "the log was full";
    }
    saved += log.taken(epoch);
    const auto after = memory.copy();
    const bool rolls_back = random() % 2 == 0;
    // Twice: who puts back may die in it, and another starts over.
    for (int i = 0; rolls_back && i < 2; ++i)
      log.each(epoch, [&](u64 gfn, const std::byte* image) {
        std::memcpy(memory.page(gfn), image, kPageBytes);
      });
    ASSERT_TRUE(memory.copy() == (rolls_back ? before : after))
        << "epoch " << epoch << ", seed " << seed;
  }
  EXPECT_GT(saved, rounds);
}

TEST(UndoLog, APageIsSavedOnceAndItsFirstContentCounts) {
  const fabric::Pool pool = make_pool(kPages);
  auto one = UndoLog::of(pool).take(), other = UndoLog::of(pool).take();
  const Memory memory;
  std::memset(memory.page(7), 1, kPageBytes);
  ASSERT_TRUE(one.capture(5, 7, memory.page(7)));
  std::memset(memory.page(7), 2, kPageBytes);
  ASSERT_TRUE(other.capture(5, 7, memory.page(7)));
  EXPECT_NE(one.image(5, 7), nullptr);
  EXPECT_EQ(one.image(6, 7), nullptr);
  u32 images = 0;
  one.each(5, [&](u64 gfn, const std::byte* image) {
    ++images;
    EXPECT_EQ(gfn, 7u);
    EXPECT_EQ(image[0], std::byte{1});
  });
  EXPECT_EQ(images, 1u);
  // The next epoch knows nothing of it.
  one.each(6, [&](u64, const std::byte*) { ++images; });
  EXPECT_EQ(images, 1u);
  EXPECT_EQ(one.taken(6), 0u);
}

TEST(UndoLog, GivesBackWhatABusyEpochTook) {
  constexpr u64 kMany = 2048;
  const fabric::Pool pool = make_pool(kMany);
  auto log = UndoLog::of(pool).take();
  const auto backed = [&] {
    struct stat st {};
    EXPECT_EQ(::fstat(pool.fd().get(), &st), 0);
    return static_cast<u64>(st.st_blocks) * 512;
  };
  const Memory memory;
  for (const u32 epoch : {1u, 2u}) {
    for (u64 gfn = 0; gfn < kMany; ++gfn) ASSERT_TRUE(log.capture(epoch, gfn, memory.page(0)));
  }
  const u64 before = backed();
  log.give_back(1, 16);
  EXPECT_NEAR(static_cast<double>(before - backed()), (kMany - 16) * kPageBytes, 32 * kPageBytes);
  EXPECT_NE(log.image(2, kMany - 1), nullptr);
  std::memset(memory.page(1), 7, kPageBytes);
  ASSERT_TRUE(log.capture(3, 5, memory.page(1)));
  EXPECT_EQ(log.image(3, 5)[99], std::byte{7});
}

TEST(UndoLog, IsRefusedWhenItDoesNotFit) {
  const fabric::Pool pool = make_pool(kPages);
  auto bytes = pool.region(fabric::RegionKind::undo, kUndoVersion).take();
  auto* header = reinterpret_cast<UndoHeader*>(bytes.data());
  header->pages = ~u64{0} / 2;
  EXPECT_FALSE(UndoLog::of(pool).ok());
  EXPECT_FALSE(UndoLog::format(pool, 2 * kPages + kSpareSlots).ok());
}

}  // namespace
}  // namespace dvm::hyperkernel
