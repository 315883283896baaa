// Pages that are saved before they are first written, with the kernel's help.
#include "hyperkernel/written_pages.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <thread>

#include "hyperkernel/guest_view.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kPages = 64;
constexpr u32 kFault = 16;  // costs so many copies

// RAM of one part, whose writes are admitted by a thread.
class World {
 public:
  World() {
    fabric::PoolSpec spec;
    spec.name = "written";
    spec.frames_bytes = kPages * kPageBytes;
    spec.metadata = {
        {fabric::RegionKind::page_directory, kPageDirectoryVersion, page_directory_bytes(kPages)},
        {fabric::RegionKind::undo, kUndoVersion, undo_region_bytes(kPages)}};
    pool_ = fabric::Pool::create(spec).take();
    auto directory = PageDirectory::of(pool_).take();
    EXPECT_TRUE(UndoLog::format(pool_, kPages).ok());
    view_ = GuestView::map(pool_, directory, {{0, kPages * kPageBytes, 0}}).take();
    auto pages = WrittenPages::watch(pool_, view_.memory(), kFault);
    if (!pages.ok()) {
      why_ = pages.error().message;
      return;
    }
    pages_ = pages.take();
    server_ = std::thread([this] { serve(); });
  }
  ~World() {
    stop_.store(true);
    if (server_.joinable()) server_.join();
  }
  const std::string& why_not() const { return why_; }
  WrittenPages& pages() { return *pages_; }
  u32 faults() const { return faults_.load(); }
  UndoLog log() const { return UndoLog::of(pool_).take(); }
  void write(u64 page, u8 value) {
    EXPECT_TRUE(view_.memory().fill(page * kPageBytes, 8, std::byte{value}).ok());
  }
  u8 first_byte(u64 page) const { return view_.memory().load<u8>(page * kPageBytes).value(); }
  // The epoch is over; those that stay writable are saved for the next.
  // How many those are.
  u64 end() {
    const u64 hot = try_to_end();
    ++epoch_;
    pages_->review([] { return true; });
    return hot;
  }
  // The end is called off, and the epoch goes on.
  u64 try_to_end() {
    const std::lock_guard guard(pages_->lock());
    EXPECT_TRUE(pages_->protect(epoch_, epoch_ + 1).ok());
    return pages_->writable();
  }
  u32 epoch() const { return epoch_; }

 private:
  void serve() {
    while (!stop_.load()) {
      pollfd waits{pages_->faults().get(), POLLIN, 0};
      if (::poll(&waits, 1, 5) <= 0) continue;
      uffd_msg m;
      if (::read(pages_->faults().get(), &m, sizeof m) != sizeof m) continue;
      const std::lock_guard guard(pages_->lock());
      faults_.fetch_add(1);
      EXPECT_TRUE(pages_->admit(epoch_, m.arg.pagefault.address).ok());
    }
  }

  fabric::Pool pool_;
  GuestView view_;
  std::unique_ptr<WrittenPages> pages_;
  std::atomic<u32> epoch_{1}, faults_{0};
  std::atomic<bool> stop_{false};
  std::string why_;
  std::thread server_;
};

TEST(WrittenPages, APageIsSavedBeforeItsFirstWriteOfEachEpoch) {
  World world;
  if (!world.why_not().empty()) GTEST_SKIP() << world.why_not();
  world.write(3, 1);
  world.write(3, 2);
  EXPECT_EQ(world.faults(), 1u);
  EXPECT_EQ(world.log().image(1, 3)[0], std::byte{0});
  EXPECT_EQ(world.end(), 0u);
  EXPECT_EQ(world.first_byte(3), 2);  // to read it is nobody's business
  EXPECT_EQ(world.faults(), 1u);
  world.write(3, 3);
  EXPECT_EQ(world.faults(), 2u);
  EXPECT_EQ(world.log().image(2, 3)[0], std::byte{2});
}

TEST(WrittenPages, APageThatIsWrittenAllTheTimeCostsNoFaultAnyMore) {
  World world;
  if (!world.why_not().empty()) GTEST_SKIP() << world.why_not();
  for (u8 i = 1; i <= 6; ++i) {
    world.write(9, i);
    EXPECT_EQ(world.end(), i >= 2 ? 1u : 0u);
  }
  EXPECT_EQ(world.faults(), 2u);
  EXPECT_EQ(world.log().image(world.epoch(), 9)[0], std::byte{6});
  // It is protected again when nobody writes it.
  u32 kept = 0;
  while (world.end() != 0 && kept < 90) ++kept;
  EXPECT_LT(kept, 60u);
  world.write(9, 99);
  EXPECT_EQ(world.faults(), 3u);
}

TEST(WrittenPages, APageThatIsWrittenNowAndThenIsFoundOut) {
  World world;
  if (!world.why_not().empty()) GTEST_SKIP() << world.why_not();
  for (u8 i = 0; i < 90; ++i) {
    if (i % 3 == 0) world.write(9, i);  // not in the epochs in which it is looked at, mostly
    world.end();
  }
  EXPECT_EQ(world.faults(), 2u);
}

TEST(WrittenPages, WhoWritesCloseByWaitsLessAndLessAndWhoWritesFarApartCopiesLess) {
  World world;
  if (!world.why_not().empty()) GTEST_SKIP() << world.why_not();
  const auto faults_of_an_epoch = [&](u64 step) {
    const u32 before = world.faults();
    for (u64 page = 0; page < kPages; page += step)
      world.write(kPages - step - page, static_cast<u8>(world.epoch()));
    const u32 faults = world.faults() - before;
    world.end();
    for (int i = 0; i < 80; ++i) world.end();  // none stays writable
    return faults;
  };
  EXPECT_EQ(faults_of_an_epoch(1), 1u);
  faults_of_an_epoch(1);
  EXPECT_EQ(faults_of_an_epoch(1), 1u);
  for (int i = 0; i < 40; ++i) faults_of_an_epoch(32);
  EXPECT_EQ(faults_of_an_epoch(4), kPages / 4);
}

TEST(WrittenPages, WhatIsWrittenAfterAnEndWasCalledOffIsProtectedAtTheNext) {
  World world;
  if (!world.why_not().empty()) GTEST_SKIP() << world.why_not();
  world.write(5, 1);
  world.try_to_end();
  world.write(5, 2);
  EXPECT_EQ(world.faults(), 2u);
  EXPECT_EQ(world.log().image(1, 5)[0], std::byte{0});
  world.end();
  world.write(5, 3);
  ASSERT_NE(world.log().image(2, 5), nullptr);
  EXPECT_EQ(world.log().image(2, 5)[0], std::byte{2});
}

}  // namespace
}  // namespace dvm::hyperkernel
