#include "fabric/life_word.h"

#include <pthread.h>

#include "fabric/peer.h"
#include "tests/unit/fabric_fixture.h"

namespace dvm::fabric {
namespace {

class LifeWordTest : public FabricTest {
 protected:
  LifeWord& word(u32 i = 0) { return fabric().peers.records[0].life[i]; }
  u32 value(u32 i = 0) { return word(i).value.load(); }
};

TEST_F(LifeWordTest, SaysWhoLivesAndIsFreeAfterLeaving) {
  {
    auto life = LifeRegistration::enter(word());
    ASSERT_TRUE(life.ok()) << life.error().message;
    EXPECT_EQ(value(), static_cast<u32>(::gettid()) | FUTEX_WAITERS);
    EXPECT_TRUE(life_running(value()));
    EXPECT_FALSE(LifeRegistration::enter(word(1)).ok()) << "a thread registers once";
    EXPECT_EQ(value(1), 0u);
  }
  EXPECT_EQ(value(), 0u);
}

TEST_F(LifeWordTest, TheKernelWritesTheDeathOfAProcessAndWakesTheWaiter) {
  for (const bool polled : {false, true}) {
    detail::poll_instead_of_waitv(polled);
    const pid_t child = fork_as(0, [this](InstanceId) {
      const auto life = LifeRegistration::enter(word());
      for (;;) ::pause();
    });
    ASSERT_TRUE(eventually([&] { return life_running(value()); }));
    const WordWait wait{&word().value, value()};
    std::thread killer([child] {
      sleep_ms(20);
      ::kill(child, SIGKILL);
    });
    while (!life_stopped(value())) wait_any({&wait, 1}, monotonic_ns() + 5'000'000'000);
    killer.join();
    reap(child);
    EXPECT_TRUE(life_stopped(value()));
    word().value.store(0);
  }
  detail::poll_instead_of_waitv(false);
}

TEST_F(LifeWordTest, AProcessThatExitsWithoutLeavingIsDeadToo) {
  reap(fork_as(0, [this](InstanceId) {
    auto life = LifeRegistration::enter(word());
    life.take().release();  // NOLINT: left registered by intent
  }));
  EXPECT_TRUE(life_stopped(value()));
}

TEST_F(LifeWordTest, EveryThreadHasItsOwnWord) {
  std::thread([this] {
    const auto life = LifeRegistration::enter(word(1));
    ASSERT_TRUE(life.ok());
    EXPECT_TRUE(life_running(value(1)));
  }).join();
  EXPECT_EQ(value(1), 0u) << "an orderly end is no death";
}

TEST_F(LifeWordTest, ATakenOrClosedWordIsRefused) {
  word().value.store(77 | FUTEX_WAITERS);
  EXPECT_FALSE(LifeRegistration::enter(word()).ok());
  EXPECT_FALSE(close_life_word(word())) << "its thread lives";
  EXPECT_TRUE(close_life_word(word(1)));
  EXPECT_TRUE(close_life_word(word(1)));
  EXPECT_FALSE(LifeRegistration::enter(word(1)).ok());
}

TEST_F(LifeWordTest, GlibcsOwnListIsRespectedAndPutBack) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  auto* mutex = reinterpret_cast<pthread_mutex_t*>(world_->scratch.data());
  ASSERT_EQ(pthread_mutex_init(mutex, &attributes), 0);
  pthread_mutex_lock(mutex);
  EXPECT_FALSE(LifeRegistration::enter(word()).ok()) << "it would lose this mutex";
  pthread_mutex_unlock(mutex);
  reap(fork_as(0, [&](InstanceId) {
    { const auto life = LifeRegistration::enter(word()); }
    pthread_mutex_lock(mutex);
  }));
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD) << "glibc's list works again";
  pthread_mutex_consistent(mutex);
  pthread_mutex_unlock(mutex);
}

TEST_F(LifeWordTest, ManyWordsAreWaitedForAtOnce) {
  std::array<std::atomic<u32>, 100> words{};
  std::vector<WordWait> waits;
  for (auto& w : words) waits.push_back({&w, 0});
  const u64 before = monotonic_ns();
  wait_any(waits, before + 30'000'000);
  EXPECT_GE(monotonic_ns() - before, 25'000'000u);
  words[99].store(1);
  wait_any(waits, monotonic_ns() + 10'000'000'000);
  EXPECT_LT(monotonic_ns() - before, 5'000'000'000u);
}

class PeerTest : public FabricTest {};

TEST_F(PeerTest, JoinsRegistersThreadsAndLeaves) {
  const InstanceId self = instances().join(3, ::getpid());
  PeerRecord& record = fabric().peers.records[3];
  {
    auto peer = Peer::join(fabric(), self, 7);
    ASSERT_TRUE(peer.ok()) << peer.error().message;
    EXPECT_EQ(record.instance.load(), self.packed());
    EXPECT_EQ((*peer)->host(), 7u);
    EXPECT_FALSE(Peer::join(fabric(), self, 7).ok());
    EXPECT_FALSE((*peer)->register_thread().ok()) << "this thread is registered";
    std::thread([&] {
      const auto life = (*peer)->register_thread();
      ASSERT_TRUE(life.ok());
      EXPECT_TRUE(life_running(record.life[1].value.load()));
    }).join();
    const u64 beats = record.beats.load();
    (*peer)->allow_ms(3000);
    EXPECT_EQ(record.beats.load(), beats + 1);
  }
  EXPECT_EQ(record.instance.load(), 0u);
  EXPECT_EQ(record.life[0].value.load(), 0u);
}

TEST_F(PeerTest, AStoppedRecordTakesNoMoreThreads) {
  const InstanceId self = instances().join(3, ::getpid());
  auto peer = Peer::join(fabric(), self, 0);
  ASSERT_TRUE(peer.ok());
  EXPECT_FALSE(close_if_stopped(fabric().peers.records[3])) << "the first thread lives";
  std::thread([&] { EXPECT_FALSE((*peer)->register_thread().ok()); }).join();
}

TEST_F(PeerTest, AProcessIsOpenedOnlyWhileItsLifeWordVouchesForThePid) {
  const pid_t child = fork_member(3);
  const PeerRecord& record = fabric().peers.records[3];
  EXPECT_TRUE(open_process(record, current(3)).has_value());
  EXPECT_FALSE(open_process(record, {3, 99}).has_value()) << "another generation";
  kill_child(child);
  fabric().peers.records[3].pid.store(::getpid());  // as if the pid were a stranger's now
  EXPECT_FALSE(open_process(record, current(3)).has_value());
}

}  // namespace
}  // namespace dvm::fabric
