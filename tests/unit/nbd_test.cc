// Disks in other formats, served by qemu-nbd.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <thread>

#include "srt/nbd_engine.h"
#include "srt/nbd_server.h"
#include "tests/unit/disk_fixture.h"

namespace dvm::srt {
namespace {

using namespace testing;  // NOLINT: disks to test with

class NbdTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(shell("qemu-img create -f qcow2 " + path() + " 16M"), 0); }
  std::string path() const { return image_.path(); }
  std::string socket() const { return path() + ".sock"; }

  const ImageFile image_{0};
};

// A node's queue to a server.
struct NbdNode {
  NbdNode(const NbdServer& server, const DiskSpec& spec,
          NbdEngine::Clock::duration patience = NbdEngine::kPatience) {
    auto engine = NbdEngine::connect(server.socket_path(), spec, server.geometry(), patience);
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

// Requests go on over the end of the server and the start of its successor: each is answered once,
// and what was written before is there.
TEST_F(NbdTest, AServerIsStartedAnewUnderItsClients) {
  const DiskSpec spec{.path = path(), .format = "qcow2"};
  auto started = NbdServer::start(spec, socket());
  ASSERT_TRUE(started.ok()) << started.error().message;
  std::optional<NbdServer> server = started.take();
  NbdNode a(*server, spec), idle(*server, spec);
  constexpr u64 kPiece = 64 * kKiB, kPieces = 240;
  std::vector<std::byte> memory(kPieces * kPiece);
  for (u64 n = 0; n < kPieces; ++n)
    std::fill_n(memory.begin() + static_cast<i64>(n * kPiece), kPiece, static_cast<std::byte>(n));
  u64 sent = 0;
  const auto write_some = [&](u64 until, bool wait) {
    for (; sent < until; ++sent) {
      const iovec one{memory.data() + sent * kPiece, kPiece};
      const DiskRequest r{.op = DiskOp::write,
                          .offset = sent * kPiece,
                          .bytes = kPiece,
                          .buffers = {&one, 1},
                          .cookie = (1u << 20) + sent};
      while (a.queue->submit({&r, 1}) == 0) {
        if (!wait) return;
        std::this_thread::yield();
      }
    }
  };
  for (u64 round = 1; round <= 3; ++round) {
    write_some(round * 60, true);
    server.reset();
    write_some(round * 60 + 10, false);  // to nobody, as many as there is room for
    auto again = NbdServer::start(spec, socket());
    ASSERT_TRUE(again.ok()) << again.error().message;
    server.emplace(again.take());
  }
  write_some(kPieces, true);
  for (u64 n = 0; n < kPieces; ++n) EXPECT_EQ(a.completions.of((1u << 20) + n), 0) << n;
  EXPECT_EQ(a.completions.count(), kPieces);
  EXPECT_EQ(a.run({.op = DiskOp::flush}), 0);
  std::vector<std::byte> back(memory.size());
  const iovec all{back.data(), back.size()};
  EXPECT_EQ(idle.run({.op = DiskOp::read, .bytes = back.size(), .buffers = {&all, 1}}), 0);
  EXPECT_TRUE(back == memory);
}

TEST_F(NbdTest, AServerThatStaysAwayFailsItsRequests) {
  const DiskSpec spec{.path = path(), .format = "qcow2"};
  auto started = NbdServer::start(spec, socket());
  ASSERT_TRUE(started.ok()) << started.error().message;
  std::optional<NbdServer> server = started.take();
  NbdNode node(*server, spec, std::chrono::milliseconds(100));
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
