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
#include "srt/nbd_engine.h"
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

bool says(const std::string& message, const char* text) {
  return message.find(text) != std::string::npos;
}

// The exit code of a shell command, its output kept back.
int shell(const std::string& command) {
  const int status = std::system((command + " > /dev/null 2>&1 < /dev/null").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
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

// The lock lives with the inherited description: the launcher's death does not give the disk free.
TEST(Disk, NodesKeepTheLock) {
  const ImageFile image(4096);
  auto launcher = Disk::open({.path = image.path()});
  ASSERT_TRUE(launcher.ok());
  auto inherited = launcher->fd().duplicate();
  ASSERT_TRUE(inherited.ok());
  const auto node = Disk::adopt(inherited.take(), launcher->spec(), launcher->geometry(), 7);
  ASSERT_TRUE(node.ok()) << node.error().message;
  EXPECT_TRUE(fence_held(launcher->fd(), 7).value());
  EXPECT_FALSE(fence_held(launcher->fd(), 8).value());
  EXPECT_FALSE(fence_held(node->fd(), 7).value()) << "its own";
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

// --- a process killed with I/O in flight
// ----------------------------------------------------------

constexpr u64 kKillBytes = 64 * kMiB;

// Writes for ever, each round with another byte. Says on `ready` when it has begun.
[[noreturn]] void write_until_killed(const Disk& launcher, int ready) {
  auto inherited = launcher.fd().duplicate();
  const auto disk = Disk::adopt(inherited.take(), launcher.spec(), launcher.geometry(), 42);
  const auto queue = DiskQueue::open(
      *disk, [](auto) {}, 64);
  const Pages pages(kMiB);
  for (u64 n = 0;; ++n) {
    const iovec one{pages.data(), kMiB};
    pages.data()[0] = static_cast<std::byte>(n);
    const DiskRequest r{.op = DiskOp::write,
                        .offset = (n * kMiB) % kKillBytes,
                        .bytes = kMiB,
                        .buffers = {&one, 1},
                        .cookie = n};
    while ((*queue)->submit({&r, 1}) == 0) std::this_thread::yield();
    if (n == 64) (void)!::write(ready, "x", 1);
  }
}

// What the fence promises: once it is free, nothing lands any more.
TEST(DiskFence, FreeMeansNothingIsInFlight) {
  DVM_NEEDS_URING();
  const ImageFile image(kKillBytes);
  auto disk = Disk::open({.path = image.path()});
  ASSERT_TRUE(disk.ok());
  for (int round = 0; round < 4; ++round) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) write_until_killed(*disk, ready[1]);
    char begun = 0;
    ASSERT_EQ(::read(ready[0], &begun, 1), 1);
    EXPECT_TRUE(fence_held(disk->fd(), 42).value());
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (fence_held(disk->fd(), 42).value()) {
      ASSERT_LT(std::chrono::steady_clock::now(), limit);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    const auto then = image.content();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(image.content(), then);
    ::close(ready[0]);
    ::close(ready[1]);
  }
}

// --- other formats
// --------------------------------------------------------------------------------

class NbdTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(shell("qemu-img create -f qcow2 " + path() + " 16M"), 0); }
  std::string path() const { return image_.path(); }
  std::string socket() const { return path() + ".sock"; }

  const ImageFile image_{0};
};

// A node's queue to a server.
struct NbdNode {
  NbdNode(const NbdServer& server, const DiskSpec& spec) {
    auto engine = NbdEngine::connect(server.socket_path(), spec, server.geometry());
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    queue = DiskQueue::open(engine.take(), completions.callback(), 16).take();
  }
  int run(DiskRequest request) {
    request.cookie = ++next;
    EXPECT_EQ(queue->submit({&request, 1}), 1u);
    return completions.of(request.cookie);
  }
  u64 next = 0;
  Completions completions;
  std::unique_ptr<DiskQueue> queue;
};

TEST_F(NbdTest, TwoNodesOnOneQcow2) {
  const DiskSpec spec{.path = path(), .format = "qcow2"};
  auto started = NbdServer::start(spec, socket());
  ASSERT_TRUE(started.ok()) << started.error().message;
  std::optional<NbdServer> server = started.take();
  EXPECT_EQ(server->geometry().bytes, 16 * kMiB);
  EXPECT_TRUE(server->geometry().discard);
  {
    NbdNode a(*server, spec), b(*server, spec);
    std::vector<std::byte> memory(2 * kMiB, std::byte{3});
    const iovec parts[] = {{memory.data(), 1000}, {memory.data() + 5000, 24}};
    EXPECT_EQ(a.run({.op = DiskOp::write, .offset = kMiB, .bytes = 1024, .buffers = parts}), 0);
    const iovec whole{memory.data(), kMiB};
    EXPECT_EQ(a.run({.op = DiskOp::write,
                     .durable = true,
                     .offset = 4 * kMiB,
                     .bytes = kMiB,
                     .buffers = {&whole, 1}}),
              0);
    EXPECT_EQ(a.run({.op = DiskOp::flush}), 0);
    const iovec back{memory.data() + kMiB, kMiB};
    EXPECT_EQ(b.run({.op = DiskOp::read, .offset = 4 * kMiB, .bytes = kMiB, .buffers = {&back, 1}}),
              0);
    EXPECT_EQ(std::memcmp(memory.data(), memory.data() + kMiB, kMiB), 0);
    EXPECT_EQ(b.run({.op = DiskOp::discard, .offset = 4 * kMiB, .bytes = kMiB}), 0);
    EXPECT_EQ(b.run({.op = DiskOp::write_zeroes, .unmap = true, .offset = 5 * kMiB, .bytes = kMiB}),
              0);
    EXPECT_EQ(a.run({.op = DiskOp::read, .offset = 4 * kMiB, .bytes = kMiB, .buffers = {&back, 1}}),
              0);
    EXPECT_EQ(memory[kMiB], std::byte{0});
    EXPECT_NE(
        a.run({.op = DiskOp::read, .offset = 16 * kMiB, .bytes = kMiB, .buffers = {&back, 1}}), 0)
        << "behind the end";
    EXPECT_EQ(a.run({.op = DiskOp::read, .offset = 1, .bytes = kMiB, .buffers = {&back, 1}}),
              EINVAL);
  }
  const i32 pid = server->pid();
  server.reset();
  EXPECT_EQ(::kill(pid, 0), -1) << "qemu-nbd is gone";
  EXPECT_EQ(::access(socket().c_str(), F_OK), -1);
  EXPECT_EQ(shell("qemu-io -f qcow2 -c 'read -P 3 1M 1024' " + path()), 0);
  EXPECT_EQ(shell("qemu-img check " + path()), 0);
}

TEST_F(NbdTest, AServerThatDiesFailsItsRequests) {
  const DiskSpec spec{.path = path(), .format = "qcow2"};
  auto started = NbdServer::start(spec, socket());
  ASSERT_TRUE(started.ok()) << started.error().message;
  std::optional<NbdServer> server = started.take();
  NbdNode node(*server, spec);
  server.reset();
  std::vector<std::byte> memory(4096);
  const iovec one{memory.data(), 4096};
  const DiskRequest read{.op = DiskOp::read, .bytes = 4096, .buffers = {&one, 1}};
  EXPECT_NE(node.run(read), 0);
  EXPECT_NE(node.run(read), 0);
  EXPECT_NE(node.run({.op = DiskOp::flush}), 0);
}

TEST_F(NbdTest, WhatCannotBeServedIsSaidInOneLine) {
  const struct {
    DiskSpec spec;
    const char* text;
  } cases[] = {
      {{.path = path(), .format = "vmdk"}, "VMDK"},
      {{.path = path(), .format = "nonsense"}, "nonsense"},
      {{.path = "/nowhere.qcow2", .format = "qcow2"}, "No such file"},
      {{.path = "/tmp", .format = "qcow2"}, "regular file"},
  };
  for (const auto& c : cases) {
    const auto server = NbdServer::start(c.spec, socket());
    ASSERT_FALSE(server.ok());
    EXPECT_TRUE(says(server.error().message, c.text)) << server.error().message;
    EXPECT_EQ(server.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(::access(socket().c_str(), F_OK), -1) << "left behind";
  }
  const auto one = NbdServer::start({.path = path(), .format = "qcow2"}, socket());
  ASSERT_TRUE(one.ok());
  const auto two = NbdServer::start({.path = path(), .format = "qcow2"}, socket() + "2");
  ASSERT_FALSE(two.ok());
  EXPECT_TRUE(says(two.error().message, "lock")) << two.error().message;
}

// qemu's blkdebug makes one sector unreadable.
TEST_F(NbdTest, ErrorsOfTheMediumAreTold) {
  const std::string rules = path() + ".rules";
  std::ofstream(rules) << "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"8\"\n"
                          "once = \"off\"\n";
  const ImageFile raw(kMiB);  // with data: of a hole nothing is read
  ASSERT_EQ(shell("qemu-io -f raw -c 'write -P 1 0 1M' " + raw.path()), 0);
  const std::string command = "qemu-nbd --shared=0 --persistent --format=raw --socket=" + socket() +
                              " --pid-file=" + path() + ".pid --fork blkdebug:" + rules + ":" +
                              raw.path();
  ASSERT_EQ(shell(command), 0);
  {
    const DiskSpec spec{.path = raw.path(), .format = "raw"};
    auto engine = NbdEngine::connect(socket(), spec, {.bytes = kMiB});
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    Completions completions;
    auto queue = DiskQueue::open(engine.take(), completions.callback(), 16).take();
    std::vector<std::byte> memory(4096);
    const iovec one{memory.data(), 4096};
    const DiskRequest requests[] = {
        {.op = DiskOp::read, .offset = 4096, .bytes = 4096, .buffers = {&one, 1}, .cookie = 1},
        {.op = DiskOp::read, .offset = 8192, .bytes = 4096, .buffers = {&one, 1}, .cookie = 2}};
    EXPECT_EQ(queue->submit(requests), 2u);
    EXPECT_EQ(completions.of(1), EIO);
    EXPECT_EQ(completions.of(2), 0);
  }
  std::ifstream pid_file(path() + ".pid");
  pid_t pid = 0;
  pid_file >> pid;
  if (pid > 1) ::kill(pid, SIGTERM);
  for (const char* end : {".rules", ".pid", ".sock"}) ::unlink((path() + end).c_str());
}

}  // namespace
}  // namespace dvm::srt
