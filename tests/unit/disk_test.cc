// Opening disks: what is fit, what is refused and with which words, who may use one with whom.
#include "srt/disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "srt/image_lock.h"
#include "srt/nbd_server.h"
#include "tests/unit/disk_fixture.h"

namespace dvm::srt {
namespace {

using namespace testing;  // NOLINT: disks to test with

std::string refusal(const DiskSpec& spec) {
  const auto disk = Disk::open(spec);
  EXPECT_FALSE(disk.ok());
  if (disk.ok()) return "";
  EXPECT_EQ(disk.error().message.find('\n'), std::string::npos);
  EXPECT_TRUE(disk.error().message.starts_with("disk " + spec.path + ": ")) << disk.error().message;
  return disk.error().message;
}

TEST(Disk, IsMeasured) {
  const ImageFile image(3 * kMiB + 512);
  const auto disk = Disk::open({.path = image.path()});
  ASSERT_TRUE(disk.ok()) << disk.error().message;
  const DiskGeometry& g = disk->geometry();
  EXPECT_EQ(g.bytes, 3 * kMiB + 512);
  EXPECT_EQ(g.block_bytes, 512u);
  EXPECT_GE(g.physical_bytes, 512u);
  EXPECT_EQ(image.content().size(), 3 * kMiB + 512) << "measuring changes nothing";
  EXPECT_EQ(image.allocated(), 0u);
}

TEST(Disk, UnfitOnesAreRefused) {
  EXPECT_TRUE(says(refusal({.path = "/nowhere/disk.img"}), "No such file"));
  EXPECT_TRUE(says(refusal({.path = "/tmp"}), "a directory"));
  EXPECT_TRUE(says(refusal({.path = "/dev/null"}), "a character device"));
  const ImageFile empty(0), odd(513);
  EXPECT_TRUE(says(refusal({.path = empty.path()}), "empty"));
  EXPECT_TRUE(says(refusal({.path = odd.path()}), "513 bytes; allowed: a multiple of 512"));
  const std::string pipe = odd.path() + "-pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(says(refusal({.path = pipe}), "a pipe"));
  ::unlink(pipe.c_str());
}

TEST(Disk, FilesThatMayOnlyBeReadAreSaidToBe) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write to all files";
  const ImageFile image(4096);
  ASSERT_EQ(::chmod(image.path().c_str(), 0400), 0);
  EXPECT_TRUE(says(refusal({.path = image.path()}), "readonly=on"));
  EXPECT_TRUE(Disk::open({.path = image.path(), .read_only = true}).ok());
}

TEST(Disk, OneWriterOrManyReaders) {
  const ImageFile image(4096);
  {
    const auto writer = Disk::open({.path = image.path()});
    ASSERT_TRUE(writer.ok());
    EXPECT_TRUE(says(refusal({.path = image.path()}), "in use"));
    EXPECT_TRUE(says(refusal({.path = image.path(), .read_only = true}), "in use"));
  }
  const auto one = Disk::open({.path = image.path(), .read_only = true});
  const auto two = Disk::open({.path = image.path(), .read_only = true});
  EXPECT_TRUE(one.ok() && two.ok());
  EXPECT_TRUE(says(refusal({.path = image.path()}), "in use"));
}

TEST(Disk, QemuRefusesAndIsRefused) {
  const ImageFile image(kMiB);
  const std::string write = "qemu-io -f raw -c 'write 0 512' " + image.path();
  const std::string read = "qemu-io -r -f raw -c 'read 0 512' " + image.path();
  ASSERT_EQ(shell(write), 0) << "qemu-utils is not installed?";
  {
    const auto writer = Disk::open({.path = image.path()});
    ASSERT_TRUE(writer.ok());
    EXPECT_NE(shell(write), 0);
    EXPECT_NE(shell("qemu-img resize -f raw " + image.path() + " 2M"), 0);
  }
  {
    const auto reader = Disk::open({.path = image.path(), .read_only = true});
    ASSERT_TRUE(reader.ok());
    EXPECT_NE(shell(write), 0);
    EXPECT_EQ(shell(read), 0);
  }
  const std::string socket = image.path() + ".sock";
  const auto server = NbdServer::start({.path = image.path()}, socket);
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_TRUE(says(refusal({.path = image.path()}), "in use"));
  EXPECT_TRUE(says(refusal({.path = image.path(), .read_only = true}), "in use"));
}

TEST(Disk, AnEarlierGenerationsFenceIsSeenAndNoOthers) {
  const ImageFile image(4096);
  const auto launcher = Disk::open({.path = image.path()});
  ASSERT_TRUE(launcher.ok());
  const auto node = Disk::adopt(launcher->fd().duplicate().take(), launcher->spec(),
                                launcher->geometry(), {0xff'ffff, 63, 5});
  ASSERT_TRUE(node.ok()) << node.error().message;
  const auto held = [&](const Fence& than) {
    return earlier_fence_held(launcher->fd(), than).value();
  };
  EXPECT_TRUE(held({0xff'ffff, 63, 6}));
  EXPECT_TRUE(held({0xff'ffff, 63, 0xffff'ffff}));
  EXPECT_FALSE(held({0xff'ffff, 63, 5}));
  EXPECT_FALSE(held({0xff'ffff, 63, 0}));
  EXPECT_FALSE(held({0xff'ffff, 62, 6})) << "another process of the guest's";
  EXPECT_FALSE(held({0xff'fffe, 63, 6})) << "another guest";
}

// The lock lives with the inherited description: the launcher's death does not give the disk free.
TEST(Disk, NodesKeepTheLock) {
  const ImageFile image(4096);
  auto launcher = Disk::open({.path = image.path()});
  ASSERT_TRUE(launcher.ok());
  auto inherited = launcher->fd().duplicate();
  ASSERT_TRUE(inherited.ok());
  const auto node =
      Disk::adopt(inherited.take(), launcher->spec(), launcher->geometry(), {1, 7, 3});
  ASSERT_TRUE(node.ok()) << node.error().message;
  EXPECT_TRUE(fence_held(launcher->fd(), {1, 7, 3}).value());
  EXPECT_FALSE(fence_held(launcher->fd(), {1, 8, 3}).value());
  EXPECT_FALSE(fence_held(node->fd(), {1, 7, 3}).value()) << "its own";
  launcher = error("gone");
  EXPECT_TRUE(says(refusal({.path = image.path()}), "in use"));
}

TEST(Disk, GrowsAndNeverShrinks) {
  const ImageFile image(kMiB);
  auto disk = Disk::open({.path = image.path()});
  ASSERT_TRUE(disk.ok());
  EXPECT_FALSE(disk->grow(kMiB - 512).ok());
  EXPECT_FALSE(disk->grow(kMiB + 1).ok());
  EXPECT_FALSE(disk->grow(0).ok());
  EXPECT_TRUE(disk->grow(kMiB).ok());
  EXPECT_TRUE(disk->grow(2 * kMiB).ok());
  EXPECT_EQ(disk->read_size().value(), 2 * kMiB);
  EXPECT_FALSE(disk->grow(kMiB).ok());
}

TEST(Disk, CacheIsAsAskedOrRefused) {
  const ImageFile on_disk(4096);
  const auto buffered = Disk::open({.path = on_disk.path(), .cache = DiskCache::buffered});
  ASSERT_TRUE(buffered.ok());
  EXPECT_EQ(::fcntl(buffered->fd().get(), F_GETFL) & O_DIRECT, 0);
  const ImageFile other(4096);
  const auto direct = Disk::open({.path = other.path(), .cache = DiskCache::direct});
  ASSERT_TRUE(direct.ok()) << direct.error().message;
  EXPECT_NE(::fcntl(direct->fd().get(), F_GETFL) & O_DIRECT, 0);
}

// A loop device stands for all: needs root, and the module (the lab has both).
TEST(Disk, BlockDevices) {
  DVM_NEEDS_URING();
  const ImageFile image(8 * kMiB);
  const std::string name = image.path() + ".name";
  const int made =
      std::system(("losetup -f --show " + image.path() + " > " + name + " 2>&1").c_str());
  std::string device;
  std::ifstream(name) >> device;
  ::unlink(name.c_str());
  if (made != 0) GTEST_SKIP() << "no loop devices here";
  {
    QueueUnderTest q({.path = device});
    ASSERT_TRUE(q.queue);
    EXPECT_EQ(q.disk->geometry().bytes, 8 * kMiB);
    EXPECT_EQ(q.disk->geometry().block_bytes, 512u);
    EXPECT_TRUE(q.disk->geometry().direct);
    EXPECT_TRUE(q.disk->geometry().discard);
    auto node =
        Disk::adopt(q.disk->fd().duplicate().take(), q.disk->spec(), q.disk->geometry(), {1, 1, 1});
    EXPECT_TRUE(node.ok()) << node.error().message;
    const Pages pages(kMiB);
    std::fill_n(pages.data(), kMiB, std::byte{9});
    EXPECT_EQ(q.run(DiskOp::write, kMiB, pages.span()), 0);
    EXPECT_EQ(q.run({.op = DiskOp::write_zeroes, .offset = kMiB, .bytes = 512 * kKiB}), 0);
    EXPECT_EQ(q.run({.op = DiskOp::discard, .offset = kMiB + 512 * kKiB, .bytes = 256 * kKiB}), 0);
    EXPECT_EQ(q.run({.op = DiskOp::flush}), 0);
    EXPECT_EQ(q.run(DiskOp::read, kMiB, pages.span()), 0);
    EXPECT_EQ(pages.data()[0], std::byte{0});
    EXPECT_EQ(pages.data()[512 * kKiB], std::byte{0});
    EXPECT_EQ(pages.data()[768 * kKiB], std::byte{9});
    EXPECT_TRUE(says(refusal({.path = device}), "in use"));
    EXPECT_EQ(::truncate(image.path().c_str(), 9 * kMiB), 0);
    EXPECT_FALSE(q.disk->grow(9 * kMiB).ok()) << "the device has to be grown first";
    EXPECT_EQ(shell("losetup -c " + device), 0);
    EXPECT_EQ(q.disk->read_size().value(), 9 * kMiB);
    EXPECT_TRUE(q.disk->grow(9 * kMiB).ok());
  }
  const std::string folder = image.path() + ".mounted";
  EXPECT_EQ(::mkdir(folder.c_str(), 0700), 0);
  if (shell("mkfs.ext4 -q " + device + " && mount " + device + " " + folder) == 0) {
    EXPECT_TRUE(says(refusal({.path = device}), "mounted"));
    EXPECT_EQ(shell("umount " + folder), 0);
  }
  ::rmdir(folder.c_str());
  EXPECT_EQ(shell("losetup -d " + device), 0);
}

}  // namespace
}  // namespace dvm::srt
