#include "fabric/bell_transport.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dvm::fabric {
namespace {

class BellTransportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    void* p =
        ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    pool_ = {static_cast<std::byte*>(p), kPageBytes};
    int ends[2];
    // SEQPACKET: datagrams, and the other end's death is seen.
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    here_ = Fd(ends[0]);
    there_ = Fd(ends[1]);
  }
  void TearDown() override { ::munmap(pool_.data(), pool_.size()); }
  Doorbell& bell(std::size_t i) { return reinterpret_cast<Doorbell*>(pool_.data())[i]; }

  std::span<std::byte> pool_;
  Fd here_, there_;
};

// The ringer does no futex call of its own: only the message can wake the sleeper.
TEST_F(BellTransportTest, ASleeperOfAnotherHostIsWokenByAMessage) {
  const pid_t other = ::fork();
  if (other == 0) {
    here_.reset();
    BellReceiver receiver(std::move(there_), pool_);
    for (u32 seen = 0; seen < 1000;) {
      const u32 now = listen(bell(7));
      if (now == seen) {
        wait(bell(7), seen, std::nullopt);
        continue;
      }
      seen = now;
      bell(8).rings.store(seen);
    }
    ::_exit(0);
  }
  there_.reset();
  SocketTransport far(std::move(here_), pool_);
  Transport* const hosts[] = {&far};
  const u64 until = monotonic_ns() + 60'000'000'000;
  for (u32 i = 1; i <= 1000; ++i) {
    ring(bell(7), hosts);
    while (i % 10 == 0 && bell(8).rings.load() != i && monotonic_ns() < until) ::usleep(10);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
}

TEST_F(BellTransportTest, MessagesThatNameNoBellAreDropped) {
  const u64 wrong[] = {3, kPageBytes, kPageBytes - 2, ~0ull};
  {
    BellReceiver receiver(std::move(there_), pool_);
    for (const u64 offset : wrong) ASSERT_EQ(::send(here_.get(), &offset, 8, 0), 8);
    ASSERT_EQ(::send(here_.get(), wrong, 16, 0), 16);
    ASSERT_EQ(::send(here_.get(), wrong, 3, 0), 3);
  }
  SocketTransport far(std::move(here_), pool_);
  far.wake(bell(1));  // nobody there any more: no error, no signal
}

TEST_F(BellTransportTest, TheOwnHostIsWokenByFutex) {
  const pid_t other = ::fork();
  if (other == 0) {
    while (listen(bell(7)) == 0) wait(bell(7), 0, std::nullopt);
    ::_exit(0);
  }
  LocalTransport near;
  Transport* const hosts[] = {&near};
  ::usleep(20'000);
  ring(bell(7), hosts);
  ASSERT_EQ(::waitpid(other, nullptr, 0), other);
}

}  // namespace
}  // namespace dvm::fabric
