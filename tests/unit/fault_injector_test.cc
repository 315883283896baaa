#include "fabric/fault_injector.h"

#include <sched.h>

#include "fabric/fabric_service.h"
#include "fabric/partition.h"
#include "tests/unit/fabric_fixture.h"

namespace dvm::fabric {
namespace {

struct FaultWorld {
  FaultBoard board;
  HealthTable health;
  EventLog events;
  std::array<std::byte, 64> metadata;
  Doorbell bell, woken;
};

class FaultInjectorTest : public FabricTest {
 protected:
  static constexpr u32 kVictim = 5, kStandby = 1;

  void SetUp() override {
    FabricTest::SetUp();
    void* p = ::mmap(nullptr, sizeof(FaultWorld), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    faults_ = static_cast<FaultWorld*>(p);
  }
  void TearDown() override {
    FabricTest::TearDown();
    ::munmap(faults_, sizeof(FaultWorld));
  }
  FaultBoard& board() { return faults_->board; }
  FaultPlace place() {
    return {&faults_->board, &faults_->health, &faults_->events, faults_->metadata};
  }
  // A process as dvm-fabric or a node is one.
  pid_t fork_service(u32 id, Manager::Eagerness eagerness) {
    const pid_t pid = fork_as(id, [this, eagerness](InstanceId self) {
      ServiceOptions options;
      options.eagerness = eagerness;
      options.faults = place();
      auto service = FabricService::start(fabric(), instances(), self, std::move(options));
      if (!service.ok()) ::_exit(2);
      for (;;) {
        (*service)->beat();
        sleep_ms(10);
      }
    });
    EXPECT_TRUE(eventually([&] {
      return member(id).state == MemberState::joined &&
             (eagerness == Manager::Eagerness::stand_by || holder() == current(id));
    }));
    return pid;
  }
  void start_both() {
    manager_ = fork_service(kManagerInstance, Manager::Eagerness::first);
    fork_service(kStandby, Manager::Eagerness::stand_by);
  }
  u32 post(const FaultRequest& request) {
    const auto number = post_fault(board(), request);
    EXPECT_TRUE(number.ok());
    return number.ok() ? *number : 0;
  }
  u32 told(EventKind kind, u32 number) {
    u32 n = 0;
    read_events(faults_->events, 0, [&](const Event& event) {
      n += event.kind == kind && event.arguments[0] == number ? 1 : 0;
    });
    return n;
  }
  bool is_over(u32 number) {
    const FaultRecord* record = find_fault(board(), number);
    const FaultStage stage = record == nullptr ? FaultStage::free : look(*record).stage;
    return stage == FaultStage::done || stage == FaultStage::failed;
  }

  FaultWorld* faults_ = nullptr;
  pid_t manager_ = 0;
};

TEST_F(FaultInjectorTest, AHangWithinTheDeadlineHarmsNobody) {
  start_both();
  fork_member(kVictim);
  const u32 fault = post({.kind = FaultKind::hang, .target = kVictim, .duration_ms = 100});
  ASSERT_TRUE(eventually([&] { return is_over(fault); }));
  EXPECT_EQ(told(EventKind::fault_injected, fault), 1u);
  EXPECT_EQ(told(EventKind::fault_ended, fault), 1u);
  sleep_ms(600 * kTestSlowness);
  EXPECT_EQ(member(kVictim).state, MemberState::joined);
}

// On one processor, who carries it out most often stops and wakes the victim before that has come
// to stop itself.
TEST_F(FaultInjectorTest, OneThatHangsAtAPointGoesOnAfterwards) {
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  for (std::size_t cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  start_both();
  std::atomic<u32>& passed = faults_->bell.rings;
  fork_as(kVictim, [&](InstanceId self) {
    ServiceOptions options;
    options.faults = place();
    auto service = FabricService::start(fabric(), instances(), self, std::move(options));
    if (!service.ok()) ::_exit(2);
    for (;;) {
      (*service)->beat();
      failpoint("p");
      passed.fetch_add(1);
      sleep_ms(1);
    }
  });
  ASSERT_TRUE(eventually([&] { return passed.load() > 0; }));
  for (u32 round = 0; round < 10; ++round) {
    FaultRequest request{.kind = FaultKind::hang,
                         .trigger = TriggerKind::point,
                         .target = kVictim,
                         .duration_ms = round % 2 == 0 ? 1u : 20u};
    request.point = {'p'};
    const u32 fault = post(request);
    ASSERT_TRUE(eventually([&] { return is_over(fault); }));
    EXPECT_EQ(told(EventKind::fault_injected, fault), 1u);
    const u32 then = passed.load();
    ASSERT_TRUE(eventually([&] { return passed.load() > then; })) << "round " << round;
    EXPECT_EQ(board().points.armed.load(), 0u);
  }
  EXPECT_EQ(member(kVictim).state, MemberState::joined);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST_F(FaultInjectorTest, AHangBeyondTheDeadlineIsADeathAnnouncedOnce) {
  start_both();
  const pid_t victim = fork_member(kVictim);
  const InstanceId who = current(kVictim);
  const u32 fault = post({.kind = FaultKind::hang, .target = kVictim});
  const int status = reap(victim);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_TRUE(eventually([&] { return count(MemberState::died, who) == 1 && is_over(fault); }));
  EXPECT_EQ(told(EventKind::fault_injected, fault), 1u);
}

TEST_F(FaultInjectorTest, AFaultAgainstTheManagerIsCarriedOutByAnother) {
  start_both();
  const u32 fault = post({.kind = FaultKind::kill, .target = kManagerInstance});
  const int status = reap(manager_);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_TRUE(eventually([&] { return holder().id == kStandby && is_over(fault); }));
  EXPECT_EQ(told(EventKind::fault_injected, fault), 1u);
}

TEST_F(FaultInjectorTest, ReadingsAndFlippedBits) {
  start_both();
  fork_member(kVictim);
  const auto wear = static_cast<u32>(HealthReading::wear);
  const u32 told_reading =
      post({.kind = FaultKind::telemetry, .target = kVictim, .reading = wear, .value = 40});
  const u32 flipped = post({.kind = FaultKind::corrupt, .mask = 0x81, .value = 3});
  const u32 outside = post({.kind = FaultKind::corrupt, .mask = 1, .value = 64});
  ASSERT_TRUE(
      eventually([&] { return is_over(told_reading) && is_over(flipped) && is_over(outside); }));
  EXPECT_EQ(health_of(faults_->health, kVictim, HealthReading::wear), 40u);
  EXPECT_EQ(health_of(faults_->health, kVictim, HealthReading::temperature), std::nullopt);
  EXPECT_EQ(faults_->metadata[3], std::byte{0x81});
  EXPECT_EQ(look(*find_fault(board(), outside)).stage, FaultStage::failed);
  EXPECT_EQ(told(EventKind::fault_failed, outside), 1u);
}

TEST_F(FaultInjectorTest, LostLinesKillOnlyTheProcessTheyWereMeantFor) {
  start_both();
  const pid_t victim = fork_member(kVictim);  // writes nothing: it is killed when its time is over
  const u32 fault = post({.kind = FaultKind::lost_lines, .target = kVictim});
  const int status = reap(victim);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  ASSERT_TRUE(eventually([&] { return is_over(fault); }));
  EXPECT_EQ(board().points.armed.load(), 0u);
  EXPECT_EQ(board().staged.load(), 0u);
}

TEST_F(FaultInjectorTest, OneThatWaitsForADeadTargetIsDropped) {
  start_both();
  const pid_t victim = fork_member(kVictim);
  FaultRequest request{.kind = FaultKind::kill, .trigger = TriggerKind::point, .target = kVictim};
  request.point = {'p'};
  const u32 fault = post(request);
  sleep_ms(50);
  kill_child(victim);
  ASSERT_TRUE(eventually([&] { return is_over(fault); }));
  EXPECT_TRUE(eventually([&] { return told(EventKind::fault_failed, fault) == 1u; }));
  EXPECT_EQ(told(EventKind::fault_injected, fault), 0u);
  EXPECT_EQ(board().points.armed.load(), 0u);
}

// Whoever carries a fault out may die at any step: the fault happens all the same, and once.
class FaultTakeoverTest : public FaultInjectorTest,
                          public ::testing::WithParamInterface<const char*> {};

TEST_P(FaultTakeoverTest, IsNeitherLostNorDoubled) {
  start_both();
  const pid_t victim = fork_member(kVictim);
  const InstanceId who = current(kVictim);
  ASSERT_TRUE(arm_fault(board().points, GetParam(), FaultAction::kill, 0, kManagerInstance, 0));
  const u32 fault = post({.kind = FaultKind::kill, .target = kVictim});
  reap(manager_);
  const int status = reap(victim);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_TRUE(eventually([&] { return is_over(fault) && count(MemberState::died, who) == 1; }));
  EXPECT_EQ(told(EventKind::fault_injected, fault), 1u);
  sleep_ms(100);
  EXPECT_EQ(count(MemberState::died, who), 1u);
}
std::string test_name(const ::testing::TestParamInfo<const char*>& point) {
  std::string name = point.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Points, FaultTakeoverTest,
                         ::testing::Values("fault.claimed", "fault.pinned", "event_log.written",
                                           "fault.told", "fault.done"),
                         test_name);

TEST_F(FaultInjectorTest, ACutOffSleeperHearsNothingUntilItIsHealed) {
  std::atomic<u32>& cut = board().cut;
  Doorbell& bell = faults_->bell;
  Doorbell& woken = faults_->woken;
  const pid_t sleeper = fork_as(kVictim, [&](InstanceId) {
    watch_partition(&cut, kVictim);
    for (;;) {
      const u32 seen = listen(bell);
      woken.rings.fetch_add(1);
      fabric::wait(bell, seen, std::nullopt);
    }
  });
  watch_partition(&cut, kStandby);
  ASSERT_TRUE(eventually([&] { return listen(woken) == 1; }));
  sleep_ms(50);
  cut.store(partition_bit(kVictim));
  EXPECT_FALSE(reaches(kVictim));
  EXPECT_FALSE(self_is_cut());
  ring(bell);
  sleep_ms(100);
  EXPECT_EQ(listen(woken), 1u);
  cut.store(0);
  ring(bell);
  EXPECT_TRUE(eventually([&] { return listen(woken) >= 2; }));
  watch_partition(nullptr, 0);
  kill_child(sleeper);
}

}  // namespace
}  // namespace dvm::fabric
