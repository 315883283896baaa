#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "fabric/claim.h"
#include "fabric/event_log.h"
#include "fabric/pool_lock.h"

namespace dvm::fabric {
namespace {

struct Shared {
  InstanceTable instances;
  PoolLock lock;
  EventLog log;
  u64 counter;
};

class LockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    void* p =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    shared_ = static_cast<Shared*>(p);
  }
  void TearDown() override { ::munmap(shared_, sizeof(Shared)); }
  Shared* shared_ = nullptr;
};

TEST_F(LockTest, AnInstanceIsStaleOnceItsGenerationHasPassed) {
  const InstanceId a = shared_->instances.join(3, 100);
  EXPECT_FALSE(shared_->instances.is_stale(a));
  shared_->instances.retire(a, InstanceState::dead);
  EXPECT_TRUE(shared_->instances.is_stale(a));
  shared_->instances.retire(a, InstanceState::gone);
  EXPECT_EQ(shared_->instances.slots[3].state.load(), InstanceState::dead) << "retired once only";
  const InstanceId b = shared_->instances.join(3, 101);
  EXPECT_FALSE(shared_->instances.is_stale(b));
  EXPECT_TRUE(shared_->instances.is_stale(InstanceId{3, a.generation}));
  EXPECT_TRUE(shared_->instances.is_stale(InstanceId{kMaxInstances, 1}));
}

TEST_F(LockTest, ThreadsCountExactly) {
  constexpr int kThreads = 4, kRounds = 20'000;
  std::vector<std::thread> threads;
  for (u32 t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      const InstanceId self = shared_->instances.join(t, 1);
      for (int i = 0; i < kRounds; ++i) {
        const LockGuard guard(shared_->lock, self, shared_->instances);
        ++shared_->counter;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(shared_->counter, static_cast<u64>(kThreads) * kRounds);
}

TEST_F(LockTest, AProcessThatDiedHoldingItIsNamedToTheNextOwner) {
  const InstanceId child_id = shared_->instances.join(1, 0);
  const pid_t child = ::fork();
  if (child == 0) {
    acquire(shared_->lock, child_id, shared_->instances);
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  shared_->instances.retire(child_id, InstanceState::dead);
  const InstanceId self = shared_->instances.join(2, ::getpid());
  const LockResult result = acquire(shared_->lock, self, shared_->instances);
  EXPECT_TRUE(result.from_dead());
  EXPECT_EQ(result.dead_owner, child_id);
  release(shared_->lock);
  EXPECT_FALSE(acquire(shared_->lock, self, shared_->instances).from_dead());
}

TEST_F(LockTest, EventsComeInOrderAndTheOldestGoFirst) {
  const InstanceId self = shared_->instances.join(0, 1);
  const u64 count = EventLog::kEvents + 10;
  for (u64 i = 0; i < count; ++i)
    append_event(shared_->log, self, shared_->instances, EventKind::warning, {i});
  u64 expected = 10;
  const u64 last = read_events(shared_->log, 0, [&](const Event& e) {
    EXPECT_EQ(e.arguments[0], expected);
    EXPECT_EQ(e.sequence, ++expected);
  });
  EXPECT_EQ(last, count);
  EXPECT_EQ(expected, count);
}

TEST(Claim, PassesFromTheDeadToExactlyOneOfTheLiving) {
  static InstanceTable instances;
  static std::atomic<u64> word{0};
  const InstanceId first = instances.join(1, 1), second = instances.join(2, 1),
                   third = instances.join(3, 1);
  EXPECT_TRUE(claim(word, first, instances));
  EXPECT_FALSE(claim(word, second, instances)) << "it is being done";
  EXPECT_FALSE(claim(word, first, instances)) << "by another thread, for all we know";
  instances.retire(first, InstanceState::dead);
  EXPECT_TRUE(claim(word, second, instances));
  EXPECT_FALSE(claim(word, third, instances));
  disclaim(word);
  EXPECT_TRUE(claim(word, third, instances));
}

}  // namespace
}  // namespace dvm::fabric
