// I/O on raw disks: what is written is read, errors are told, nothing hangs.
#include "srt/disk_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "tests/unit/disk_fixture.h"

namespace dvm::srt {
namespace {

using namespace testing;  // NOLINT: disks to test with

class DiskQueueTest : public ::testing::Test {
 protected:
  void SetUp() override { DVM_NEEDS_URING(); }
};

TEST_F(DiskQueueTest, WhatIsWrittenIsRead) {
  const ImageFile image(kMiB);
  for (const auto cache : {DiskCache::direct, DiskCache::buffered}) {
    QueueUnderTest q({.path = image.path(), .cache = cache});
    ASSERT_TRUE(q.queue);
    EXPECT_EQ(q.disk->geometry().direct, cache == DiskCache::direct);
    const Pages pages(8192);
    std::fill_n(pages.data(), 4096, std::byte{0x5a});
    EXPECT_EQ(q.run(DiskOp::write, 8192, pages.span().first(4096)), 0);
    EXPECT_EQ(q.run({.op = DiskOp::flush}), 0);
    EXPECT_EQ(q.run(DiskOp::read, 8192, pages.span().subspan(4096)), 0);
    EXPECT_EQ(std::memcmp(pages.data(), pages.data() + 4096, 4096), 0);
    EXPECT_EQ(image.content()[8192 + 4095], std::byte{0x5a});
  }
}

TEST_F(DiskQueueTest, ReadOnlyDisksAreNotChanged) {
  const ImageFile image(kMiB);
  QueueUnderTest q({.path = image.path(), .read_only = true});
  ASSERT_TRUE(q.queue);
  const Pages pages(4096);
  EXPECT_EQ(q.run(DiskOp::read, 0, pages.span()), 0);
  EXPECT_EQ(q.run(DiskOp::write, 0, pages.span()), EROFS);
  EXPECT_EQ(q.run({.op = DiskOp::discard, .bytes = 4096}), EROFS);
  EXPECT_EQ(q.run({.op = DiskOp::write_zeroes, .bytes = 4096}), EROFS);
  EXPECT_EQ(q.run({.op = DiskOp::flush}), 0);
}

TEST_F(DiskQueueTest, BadRequestsAreRefusedAndNothingElse) {
  const ImageFile image(kMiB);
  QueueUnderTest q({.path = image.path()});
  ASSERT_TRUE(q.queue);
  const Pages pages(8192);
  const iovec half{pages.data(), 512};
  EXPECT_EQ(q.run({.op = DiskOp::read, .bytes = 1024, .buffers = {&half, 1}}), EINVAL);
  EXPECT_EQ(q.run({.op = DiskOp::read, .bytes = 256, .buffers = {&half, 1}}), EINVAL);
  EXPECT_EQ(
      q.run({.op = DiskOp::read, .offset = ~u64{0} - 511, .bytes = 512, .buffers = {&half, 1}}),
      EINVAL);
  EXPECT_EQ(q.run({.op = DiskOp::read, .offset = 100, .bytes = 512, .buffers = {&half, 1}}),
            EINVAL);
  EXPECT_EQ(q.run({.op = DiskOp::read}), 0) << "nothing is soon read";
  EXPECT_EQ(q.run(DiskOp::read, 0, pages.span()), 0);
}

TEST_F(DiskQueueTest, AReadBehindTheEndIsAnError) {
  const ImageFile image(kMiB);
  QueueUnderTest q({.path = image.path()});
  ASSERT_TRUE(q.queue);
  ASSERT_EQ(::truncate(image.path().c_str(), 4096), 0);  // someone cuts it under us
  const Pages pages(8192);
  EXPECT_EQ(q.run(DiskOp::read, 0, pages.span()), EIO);
  EXPECT_EQ(q.run(DiskOp::read, 65536, pages.span()), EIO);
  EXPECT_EQ(q.run(DiskOp::read, 0, pages.span().first(4096)), 0);
}

TEST_F(DiskQueueTest, DiscardGivesBlocksBackAndReadsAsZero) {
  const ImageFile image(kMiB);
  QueueUnderTest q({.path = image.path()});
  ASSERT_TRUE(q.queue);
  ASSERT_TRUE(q.disk->geometry().discard) << "this file system cannot: use another scratch folder";
  const Pages pages(512 * kKiB);
  std::fill_n(pages.data(), 512 * kKiB, std::byte{1});
  ASSERT_EQ(q.run(DiskOp::write, 0, pages.span()), 0);
  ASSERT_EQ(q.run({.op = DiskOp::flush}), 0);
  const u64 before = image.allocated();
  EXPECT_EQ(q.run({.op = DiskOp::discard, .bytes = 256 * kKiB}), 0);
  EXPECT_EQ(
      q.run({.op = DiskOp::write_zeroes, .unmap = true, .offset = 256 * kKiB, .bytes = 128 * kKiB}),
      0);
  EXPECT_LE(image.allocated() + 384 * kKiB, before);
  EXPECT_EQ(q.run({.op = DiskOp::write_zeroes,
                   .durable = true,
                   .offset = 384 * kKiB + 512,
                   .bytes = 64 * kKiB}),
            0);
  const auto content = image.content();
  EXPECT_EQ(content.size(), kMiB) << "the size stays";
  EXPECT_TRUE(std::all_of(content.begin(), content.begin() + 384 * kKiB,
                          [](auto b) { return b == std::byte{0}; }));
  EXPECT_EQ(content[384 * kKiB + 511], std::byte{1});
  EXPECT_EQ(content[384 * kKiB + 512], std::byte{0});
  EXPECT_EQ(content[448 * kKiB + 511], std::byte{0});
  EXPECT_EQ(content[448 * kKiB + 512], std::byte{1});
}

TEST_F(DiskQueueTest, DiscardThatIsOffSaysSo) {
  const ImageFile image(kMiB);
  QueueUnderTest q({.path = image.path(), .discard = false});
  ASSERT_TRUE(q.queue);
  EXPECT_EQ(q.run({.op = DiskOp::discard, .bytes = 4096}), ENOTSUP);
  EXPECT_EQ(q.run({.op = DiskOp::write_zeroes, .unmap = true, .bytes = 4096}), 0) << "without";
}

// tmpfs has no ZERO_RANGE: zeroes are written out.
TEST_F(DiskQueueTest, ZeroesAreWrittenWhereTheFileCannotMakeThem) {
  const ImageFile image(8 * kMiB, "/dev/shm");
  QueueUnderTest q({.path = image.path()});
  ASSERT_TRUE(q.queue);
  const Pages pages(8 * kMiB);
  std::fill_n(pages.data(), 8 * kMiB, std::byte{7});
  ASSERT_EQ(q.run(DiskOp::write, 0, pages.span()), 0);
  EXPECT_EQ(q.run({.op = DiskOp::write_zeroes, .offset = 512, .bytes = 5 * kMiB}), 0);
  const auto content = image.content();
  EXPECT_EQ(content[511], std::byte{7});
  EXPECT_TRUE(std::all_of(content.begin() + 512, content.begin() + 512 + 5 * kMiB,
                          [](auto b) { return b == std::byte{0}; }));
  EXPECT_EQ(content[512 + 5 * kMiB], std::byte{7});
}

// Each waits for a place; every one that was taken comes back once.
TEST_F(DiskQueueTest, AFullQueueTakesNoMoreAndCompletesAll) {
  const ImageFile image(kMiB);
  QueueUnderTest q({.path = image.path()}, 4);
  ASSERT_TRUE(q.queue);
  const Pages pages(64 * kKiB);
  std::vector<iovec> buffers;
  std::vector<DiskRequest> requests;
  for (u64 i = 0; i < 64; ++i) buffers.push_back({pages.data() + 1024 * i, 1024});
  for (u64 i = 0; i < 64; ++i) {
    requests.push_back({.op = DiskOp::write,
                        .offset = 1024 * i,
                        .bytes = 1024,
                        .buffers = {&buffers[i], 1},
                        .cookie = i});
  }
  std::size_t done = q.queue->submit(requests);
  EXPECT_LE(done, 4u);
  EXPECT_GE(done, 1u);
  while (done < requests.size()) {
    EXPECT_LE(q.queue->in_flight(), 4u);
    done += q.queue->submit(std::span(requests).subspan(done));
    std::this_thread::yield();
  }
  q.queue->drain();
  EXPECT_EQ(q.queue->in_flight(), 0u);
  EXPECT_EQ(q.completions.count(), 64u);
  for (u64 i = 0; i < 64; ++i) EXPECT_EQ(q.completions.of(i), 0);
}

TEST_F(DiskQueueTest, TheEndWaitsForAll) {
  const ImageFile image(4 * kMiB);
  QueueUnderTest q({.path = image.path()});
  ASSERT_TRUE(q.queue);
  const Pages pages(4 * kMiB);
  const iovec all{pages.data(), 4 * kMiB};
  std::vector<DiskRequest> requests(16,
                                    {.op = DiskOp::write, .bytes = 4 * kMiB, .buffers = {&all, 1}});
  for (u64 i = 0; i < 16; ++i) requests[i].cookie = i;
  ASSERT_EQ(q.queue->submit(requests), 16u);
  q.queue.reset();
  EXPECT_EQ(q.completions.count(), 16u);
}

// As the machine does when a driver filled its ring: the callback takes what was left.
TEST_F(DiskQueueTest, TheCallbackMaySubmit) {
  const ImageFile image(kMiB);
  auto disk = Disk::open({.path = image.path()});
  ASSERT_TRUE(disk.ok());
  const Pages pages(4096);
  const iovec one{pages.data(), 4096};
  const DiskRequest request{.op = DiskOp::read, .bytes = 4096, .buffers = {&one, 1}};
  std::atomic<u32> completed = 0;
  DiskQueue* again = nullptr;
  auto queue = DiskQueue::open(
      *disk,
      [&](std::span<const DiskCompletion> batch) {
        for (const auto& c : batch) {
          EXPECT_EQ(c.error, 0);
          if (++completed == 1000) continue;
          EXPECT_EQ(again->submit({&request, 1}), 1u);
        }
      },
      1);
  ASSERT_TRUE(queue.ok());
  again = queue->get();
  ASSERT_EQ(again->submit({&request, 1}), 1u);
  again->drain();
  EXPECT_EQ(completed, 1000u);
}

// vCPU threads come and go: what a thread submitted does not go with it.
TEST_F(DiskQueueTest, ThreadsThatSubmitMayEnd) {
  const ImageFile image(16 * kMiB);
  QueueUnderTest q({.path = image.path()}, 64);
  ASSERT_TRUE(q.queue);
  const Pages pages(4096);
  const iovec one{pages.data(), 4096};
  std::vector<std::thread> threads;
  for (u64 t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      DiskRequest write{.op = DiskOp::write,
                        .offset = 4096 * t,
                        .bytes = 4096,
                        .buffers = {&one, 1},
                        .cookie = 2 * t};
      DiskRequest flush{.op = DiskOp::flush, .cookie = 2 * t + 1};
      EXPECT_EQ(q.queue->submit({&write, 1}), 1u);
      EXPECT_EQ(q.queue->submit({&flush, 1}), 1u);
    });
  }
  for (auto& t : threads) t.join();
  for (u64 i = 0; i < 32; ++i) EXPECT_EQ(q.completions.of(i), 0) << i;
}

TEST_F(DiskQueueTest, NoSpaceIsToldForEachRequest) {
  char folder[] = "/tmp/dvm-small-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  if (::mount("none", folder, "tmpfs", 0, "size=1m") != 0) {
    ::rmdir(folder);
    GTEST_SKIP() << "needs the right to mount";
  }
  {
    const ImageFile image(8 * kMiB, folder);
    QueueUnderTest q({.path = image.path(), .cache = DiskCache::buffered});
    ASSERT_TRUE(q.queue);
    const Pages pages(2 * kMiB);
    EXPECT_EQ(q.run(DiskOp::write, 0, pages.span()), ENOSPC);
    EXPECT_EQ(q.run(DiskOp::write, 4 * kMiB, pages.span().first(4096)), ENOSPC);
    EXPECT_EQ(q.run({.op = DiskOp::discard, .bytes = kMiB}), 0) << "room again";
    EXPECT_EQ(q.run(DiskOp::write, 4 * kMiB, pages.span().first(4096)), 0);
  }
  ::umount(folder);
  ::rmdir(folder);
}

TEST_F(DiskQueueTest, DepthHasLimits) {
  const ImageFile image(4096);
  auto disk = Disk::open({.path = image.path()});
  ASSERT_TRUE(disk.ok());
  EXPECT_FALSE(DiskQueue::open(
                   *disk, [](auto) {}, 0)
                   .ok());
  EXPECT_FALSE(DiskQueue::open(
                   *disk, [](auto) {}, 4097)
                   .ok());
  EXPECT_TRUE(DiskQueue::open(
                  *disk, [](auto) {}, 4096)
                  .ok());
}

}  // namespace
}  // namespace dvm::srt
