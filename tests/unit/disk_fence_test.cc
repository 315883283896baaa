// A process killed with I/O in flight: once its fence is free, nothing lands any more.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "srt/image_lock.h"
#include "tests/unit/disk_fixture.h"

namespace dvm::srt {
namespace {

using namespace testing;  // NOLINT: disks to test with

constexpr u64 kBytes = 64 * kMiB;
constexpr u64 kPiece = kMiB;
constexpr Fence kFence{5, 42, 3};

// As a node: keeps the disk and `memory` (of kBytes) busy for ever. Says on `ready` when it has
// begun.
[[noreturn]] void run_until_killed(const Disk& launcher, DiskOp op, std::byte* memory, int ready) {
  auto inherited = launcher.fd().duplicate();
  const auto disk = Disk::adopt(inherited.take(), launcher.spec(), launcher.geometry(), kFence);
  const auto queue = DiskQueue::open(
      *disk, [](auto) {}, 64);
  for (u64 n = 0;; ++n) {
    const u64 at = (n * kPiece) % kBytes;
    const iovec one{memory + at, kPiece};
    if (op == DiskOp::write) memory[at] = static_cast<std::byte>(n / 64);
    const DiskRequest r{.op = op, .offset = at, .bytes = kPiece, .buffers = {&one, 1}, .cookie = n};
    while ((*queue)->submit({&r, 1}) == 0) std::this_thread::yield();
    if (n == 64) (void)!::write(ready, "x", 1);
  }
}

// Kills one that is busy and waits for its fence.
void kill_one(const Disk& disk, DiskOp op, std::byte* memory) {
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const Fd from(ready[0]), to(ready[1]);
  const pid_t child = ::fork();
  if (child == 0) run_until_killed(disk, op, memory, to.get());
  char begun = 0;
  ASSERT_EQ(::read(from.get(), &begun, 1), 1);
  EXPECT_TRUE(fence_held(disk.fd(), kFence).value());
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (fence_held(disk.fd(), kFence).value()) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

TEST(DiskFence, NoWriteReachesTheDiskOnceItIsFree) {
  DVM_NEEDS_URING();
  const ImageFile image(kBytes);
  const auto disk = Disk::open({.path = image.path()});
  ASSERT_TRUE(disk.ok());
  const Pages memory(kBytes);
  for (int round = 0; round < 3; ++round) {
    kill_one(*disk, DiskOp::write, memory.data());
    const auto then = image.content();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(image.content(), then);
  }
}

TEST(DiskFence, NoReadReachesMemoryOnceItIsFree) {
  DVM_NEEDS_URING();
  const ImageFile image(kBytes);
  // With blocks of its own: of a hole nothing is read.
  ASSERT_EQ(shell("dd if=/dev/zero bs=1M count=64 conv=notrunc of=" + image.path()), 0);
  const auto disk = Disk::open({.path = image.path()});
  ASSERT_TRUE(disk.ok());
  const Pages memory(kBytes);
  for (int round = 0; round < 3; ++round) {
    kill_one(*disk, DiskOp::read, memory.data());
    // Given to someone else, who writes to it at once: the end of each piece comes last.
    for (u64 at = kPiece; at <= kBytes; at += kPiece) memory.data()[at - 1] = std::byte{0xee};
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    for (u64 at = kPiece; at <= kBytes; at += kPiece) {
      EXPECT_EQ(memory.data()[at - 1], std::byte{0xee}) << at;
    }
  }
}

}  // namespace
}  // namespace dvm::srt
