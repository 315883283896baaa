#include "fabric/queue_lock.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <thread>
#include <vector>

namespace dvm::fabric {
namespace {

struct Shared {
  InstanceTable instances;
  QueueLock lock;
  u64 counter;
};

class QueueLockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    void* p =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    shared_ = static_cast<Shared*>(p);
    self_ = shared_->instances.join(0, 1);
  }
  void TearDown() override { ::munmap(shared_, sizeof(Shared)); }

  // A place taken by an instance that does nothing more: what a waiter that died leaves.
  void leave_dead_waiter(u32 id) {
    const InstanceId dead = shared_->instances.join(id, 1);
    detail::enter_contended(shared_->lock, detail::slot_owner(dead), shared_->instances);
    shared_->instances.retire(dead, InstanceState::dead);
  }
  InstanceId leave_dead_holder(u32 id) {
    const InstanceId dead = shared_->instances.join(id, 1);
    acquire(shared_->lock, dead, shared_->instances);
    shared_->instances.retire(dead, InstanceState::dead);
    return dead;
  }
  LockResult lock_and_unlock() {
    const QueueTurn turn = acquire(shared_->lock, self_, shared_->instances);
    release(shared_->lock, turn);
    return turn.result;
  }

  Shared* shared_ = nullptr;
  InstanceId self_;
};

TEST_F(QueueLockTest, TheSlotsAreReusedRoundAfterRound) {
  for (u64 i = 0; i < 5 * QueueLock::kSlots; ++i) {
    const QueueTurn turn = acquire(shared_->lock, self_, shared_->instances);
    EXPECT_EQ(turn.ticket, i);
    EXPECT_FALSE(turn.result.from_dead());
    release(shared_->lock, turn);
  }
}

TEST_F(QueueLockTest, ThreadsCountExactly) {
  constexpr u32 kThreads = 4, kRounds = 5'000;
  std::vector<std::thread> threads;
  for (u32 t = 1; t <= kThreads; ++t) {
    threads.emplace_back([this, t] {
      const InstanceId self = shared_->instances.join(t, 1);
      for (u32 i = 0; i < kRounds; ++i) {
        const QueueGuard guard(shared_->lock, self, shared_->instances);
        ++shared_->counter;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(shared_->counter, kThreads * kRounds);
}

TEST_F(QueueLockTest, MoreThreadsThanSlotsAllGetIt) {
  std::vector<std::thread> threads;
  for (u64 t = 0; t < QueueLock::kSlots + 20; ++t) {
    threads.emplace_back([this] {
      for (int i = 0; i < 5; ++i) {
        const QueueGuard guard(shared_->lock, self_, shared_->instances);
        ++shared_->counter;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(shared_->counter, 5 * (QueueLock::kSlots + 20));
}

TEST_F(QueueLockTest, AHolderThatDiedIsNamedToTheNextAndOnlyToIt) {
  lock_and_unlock();
  const InstanceId dead = leave_dead_holder(1);
  EXPECT_EQ(lock_and_unlock().dead_owner, dead);
  EXPECT_FALSE(lock_and_unlock().from_dead());
}

TEST_F(QueueLockTest, AChainOfDeadWaitersIsWalked) {
  leave_dead_holder(1);
  for (u32 id = 2; id < 10; ++id) leave_dead_waiter(id);
  EXPECT_TRUE(lock_and_unlock().from_dead());
  EXPECT_FALSE(lock_and_unlock().from_dead());
}

TEST_F(QueueLockTest, AQueueFullOfTheDeadIsEmptied) {
  leave_dead_holder(1);
  for (u64 i = 1; i < QueueLock::kSlots; ++i) leave_dead_waiter(2);
  EXPECT_TRUE(lock_and_unlock().from_dead());
  EXPECT_FALSE(lock_and_unlock().from_dead());
}

TEST_F(QueueLockTest, DeathBetweenTheStoresOfReleaseDoesNotGiveItTwice) {
  const InstanceId dead = shared_->instances.join(1, 1);
  const QueueTurn turn = acquire(shared_->lock, dead, shared_->instances);
  shared_->lock.slots[turn.ticket + 1].granted.store(turn.ticket + 1);  // the first one only
  shared_->instances.retire(dead, InstanceState::dead);
  for (u64 i = 0; i < 3 * QueueLock::kSlots; ++i) {
    EXPECT_EQ(acquire(shared_->lock, self_, shared_->instances).ticket, turn.ticket + 1 + i);
    release(shared_->lock, {turn.ticket + 1 + i, {}});
  }
}

TEST_F(QueueLockTest, AHintThatLagsIsWalkedPast) {
  for (int i = 0; i < 10; ++i) lock_and_unlock();
  shared_->lock.next.store(3);
  EXPECT_EQ(acquire(shared_->lock, self_, shared_->instances).ticket, 10u);
}

TEST_F(QueueLockTest, WaitersAreServedInTheOrderTheyCame) {
  const QueueTurn first = acquire(shared_->lock, self_, shared_->instances);
  std::vector<u64> order;
  std::vector<std::thread> threads;
  for (u64 t = 0; t < 4; ++t) {
    threads.emplace_back([this, t, &order] {
      const QueueGuard guard(shared_->lock, self_, shared_->instances);
      order.push_back(t);
    });
    while (shared_->lock.next.load() != first.ticket + 2 + t) std::this_thread::yield();
  }
  release(shared_->lock, first);
  for (auto& t : threads) t.join();
  EXPECT_EQ(order, (std::vector<u64>{0, 1, 2, 3}));
}

TEST_F(QueueLockTest, ALivingWaiterGetsTheTurnOfTheDeadBeforeIt) {
  const InstanceId dead = shared_->instances.join(1, 1);
  acquire(shared_->lock, dead, shared_->instances);
  std::atomic<u32> from_dead{0}, entered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const QueueGuard guard(shared_->lock, self_, shared_->instances);
      if (guard.result().from_dead()) ++from_dead;
      ++entered;
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(entered.load(), 0u) << "its owner is not known to be dead";
  shared_->instances.retire(dead, InstanceState::dead);
  for (auto& t : threads) t.join();
  EXPECT_EQ(from_dead.load(), 1u);
}

}  // namespace
}  // namespace dvm::fabric
