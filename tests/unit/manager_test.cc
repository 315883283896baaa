// The fabric manager against real processes that are killed, stopped and restarted.
#include "fabric/manager.h"

#include "tests/unit/fabric_fixture.h"

namespace dvm::fabric {
namespace {

using Eagerness = Manager::Eagerness;

class ManagerTest : public FabricTest {
 protected:
  static constexpr u32 kManager = 40, kStandby = 41, kSecondStandby = 42, kVictim = 1, kOther = 2;

  void SetUp() override {
    FabricTest::SetUp();
    table_.add("count", [this](InstanceId dead) { world_->scratch[dead.id].fetch_add(1); });
  }
  bool recovered(InstanceId who) {
    return eventually([&] { return count(MemberState::recovered, who) == 1; });
  }
  void expect_announced_once(InstanceId who) {
    EXPECT_TRUE(recovered(who));
    EXPECT_EQ(count(MemberState::died, who), 1u);
    EXPECT_TRUE(instances().is_stale(who));
    EXPECT_TRUE(eventually([&] { return stage(who.id) == FailureStage::dead; }));
  }
  FailureCause cause(u32 id) { return look(fabric().failures[id]).cause; }
  RecoveryTable table_;
};

TEST_F(ManagerTest, AKilledMemberIsAnnouncedRecoveredAndMayComeBack) {
  fork_manager(kManager, Eagerness::first, table_);
  for (int life = 1; life <= 3; ++life) {
    const pid_t victim = fork_member(kVictim);
    const InstanceId who = current(kVictim);
    kill_child(victim);
    expect_announced_once(who);
    EXPECT_EQ(cause(kVictim), FailureCause::died);
    EXPECT_EQ(world_->scratch[kVictim].load(), static_cast<u64>(life));
  }
}

TEST_F(ManagerTest, AHungMemberIsPoweredOffAfterItsDeadlineAndTheOthersLive) {
  fork_manager(kManager, Eagerness::first, table_);
  const pid_t hung = fork_member(kVictim), other = fork_member(kOther);
  const InstanceId who = current(kVictim);
  sleep_ms(100);
  ::kill(hung, SIGSTOP);
  const u64 since = monotonic_ns();
  ASSERT_TRUE(eventually([&] { return stage(kVictim) == FailureStage::dead; }));
  EXPECT_GT(monotonic_ns() - since, fabric().deadline_ms * u64{500'000}) << "not before its time";
  const int status = reap(hung);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  expect_announced_once(who);
  EXPECT_EQ(cause(kVictim), FailureCause::silent);
  EXPECT_EQ(::waitpid(other, nullptr, WNOHANG), 0);
}

TEST_F(ManagerTest, AManagerThatWasNotScheduledKillsNobody) {
  const pid_t manager = fork_manager(kManager, Eagerness::first, table_);
  fork_member(kVictim);
  sleep_ms(100);
  for (int i = 0; i < 2; ++i) {
    ::kill(manager, SIGSTOP);
    sleep_ms(3 * fabric().deadline_ms);
    ::kill(manager, SIGCONT);
    sleep_ms(fabric().deadline_ms);
  }
  EXPECT_EQ(stage(kVictim), FailureStage::none);
  EXPECT_EQ(member(kVictim).state, MemberState::joined);
}

TEST_F(ManagerTest, WhoAsksForMoreTimeGetsIt) {
  fork_manager(kManager, Eagerness::first, table_);
  fork_as(kVictim, [this](InstanceId self) {
    auto peer = Peer::join(fabric(), self, 0);
    (*peer)->allow_ms(60'000);
    world_->scratch[0].store(1);
    sleep_ms(60'000);
  });
  ASSERT_TRUE(eventually([&] { return world_->scratch[0].load() == 1; }));
  sleep_ms(3 * fabric().deadline_ms);
  EXPECT_EQ(stage(kVictim), FailureStage::none);
}

TEST_F(ManagerTest, AStandbyTakesTheRoleWithin100MsAndBuriesTheManager) {
  const pid_t manager = fork_manager(kManager, Eagerness::first, table_);
  fork_manager(kStandby, Eagerness::stand_by, table_);
  fork_manager(kSecondStandby, Eagerness::stand_by, table_);
  sleep_ms(100);
  const InstanceId first = current(kManager);
  const u64 since = monotonic_ns();
  ::kill(manager, SIGKILL);
  while (holder() == first) {
  }
  const u64 took = monotonic_ns() - since;
  RecordProperty("takeover_us", static_cast<int>(took / 1000));
  EXPECT_LT(took, 100'000'000 * kTestSlowness);
  reap(manager);
  expect_announced_once(first);
}

TEST_F(ManagerTest, AHungManagerIsPoweredOffByAStandby) {
  const pid_t manager = fork_manager(kManager, Eagerness::first, table_);
  fork_manager(kStandby, Eagerness::stand_by, table_);
  const InstanceId first = current(kManager);
  sleep_ms(150);
  ::kill(manager, SIGSTOP);
  EXPECT_TRUE(WIFSIGNALED(reap(manager)));
  expect_announced_once(first);
  EXPECT_EQ(cause(kManager), FailureCause::silent);
}

// The manager dies at every point of its work on a failure: announced once all the same.
TEST_F(ManagerTest, AManagerKilledInTheMiddleOfAFailureIsFollowedByAnother) {
  const std::vector<std::string> points = {
      "manager.suspects",   "manager.suspected", "manager.powered_off", "manager.fenced",
      "manager.retired",    "group.written",     "group.armed",         "group.stated",
      "manager.told_group", "manager.told_all",  "manager.announced",   "recovery.claimed",
      "recovery.step",      "recovery.stepped",  "recovery.salvaged",   "recovery.told"};
  pid_t manager = fork_manager(kManager, Eagerness::first, table_);
  u32 next = kStandby;
  u32 now = kManager;
  for (const std::string& point : points) {
    SCOPED_TRACE(point);
    const pid_t standby = fork_manager(next, Eagerness::stand_by, table_);
    const pid_t victim = fork_member(kVictim);
    const InstanceId who = current(kVictim), first = current(now);
    // The runner may be either process: the first to get there dies.
    const bool any = point.starts_with("recovery");
    ASSERT_TRUE(arm_fault(world_->faults, point, FaultAction::kill, 0, any ? ~0u : now, 0));
    kill_child(victim);
    int status = 0;
    const pid_t died = ::waitpid(-1, &status, 0);
    ASSERT_TRUE(died == manager || (any && died == standby)) << died;
    children_.erase(died);
    expect_announced_once(who);
    const InstanceId gone = died == manager ? first : current(next);
    if (died == manager) {
      expect_announced_once(first);
      manager = standby;
      std::swap(now, next);
    } else {
      ASSERT_TRUE(eventually([&] { return stage(next) == FailureStage::dead; })) << gone.id;
    }
    ASSERT_TRUE(eventually([&] { return holder() == current(now); }));
    if (HasFailure()) return;
  }
}

// A dead one's announcement needs a lock that a hung one holds: first the hung one has to go.
TEST_F(ManagerTest, AHungLockHolderDoesNotStopTheManager) {
  fork_manager(kManager, Eagerness::first, table_);
  const pid_t victim = fork_member(kVictim);
  const InstanceId dead = current(kVictim);
  const pid_t hung = fork_as(kOther, [this](InstanceId self) {
    auto peer = Peer::join(fabric(), self, 0);
    Membership group(everyone(), self, instances());
    if (!group.join({}).ok()) ::_exit(1);
    acquire(everyone().lock, self, instances());
    world_->scratch[0].store(1);
    ::raise(SIGSTOP);
  });
  const InstanceId stopped = current(kOther);
  ASSERT_TRUE(eventually([&] { return world_->scratch[0].load() == 1; }));
  kill_child(victim);
  reap(hung);
  expect_announced_once(dead);
  expect_announced_once(stopped);
}

TEST_F(ManagerTest, ASilentHostIsPoweredOffAsAWhole) {
  ManagerHooks hooks;
  hooks.power_off_host = [this](u32 host) {
    bool off = true;
    for (const PeerRecord& record : fabric().peers.records) {
      if (record.host.load() != host) continue;
      ::kill(record.pid.load(), SIGKILL);
      off = off && (record.instance.load() == 0 || life_stopped(record.life[0].value.load()));
    }
    world_->scratch[50].fetch_add(1);
    return off;
  };
  fork_manager(kManager, Eagerness::first, table_, hooks);
  const std::array<pid_t, 2> far = {fork_member(kVictim, 9), fork_member(kOther, 9)};
  const pid_t near = fork_member(3, 0);
  const InstanceId a = current(kVictim), b = current(kOther);
  sleep_ms(100);
  for (const pid_t pid : far) ::kill(pid, SIGSTOP);
  for (const pid_t pid : far) EXPECT_TRUE(WIFSIGNALED(reap(pid)));
  expect_announced_once(a);
  expect_announced_once(b);
  EXPECT_GT(world_->scratch[50].load(), 0u);
  EXPECT_EQ(cause(kVictim), FailureCause::host_silent);
  EXPECT_EQ(::waitpid(near, nullptr, WNOHANG), 0);
}

TEST_F(ManagerTest, NobodyIsAnnouncedBeforeItsIoIsDrained) {
  ManagerHooks hooks;
  hooks.drained = [this](InstanceId) { return world_->scratch[51].load() != 0; };
  hooks.overdue = [this](InstanceId who, FailureCause) { world_->scratch[52].store(who.packed()); };
  fork_manager(kManager, Eagerness::first, table_, hooks);
  const pid_t victim = fork_member(kVictim);
  const InstanceId who = current(kVictim);
  kill_child(victim);
  ASSERT_TRUE(eventually([&] { return world_->scratch[52].load() == who.packed(); }, 20'000));
  EXPECT_EQ(stage(kVictim), FailureStage::suspect);
  EXPECT_EQ(count(MemberState::died, who), 0u);
  EXPECT_FALSE(instances().is_stale(who));
  world_->scratch[51].store(1);
  expect_announced_once(who);
}

TEST_F(ManagerTest, WhoLeavesInOrderIsNoFailure) {
  fork_manager(kManager, Eagerness::first, table_);
  const pid_t leaver = fork_as(kVictim, [this](InstanceId self) {
    auto peer = Peer::join(fabric(), self, 0);
    Membership group(everyone(), self, instances());
    if (!group.join({}).ok()) ::_exit(1);
    sleep_ms(50);
    if (!group.leave().ok()) ::_exit(1);
    instances().retire(self, InstanceState::gone);
    peer.take().reset();
  });
  EXPECT_EQ(reap(leaver), 0);
  sleep_ms(fabric().deadline_ms * 2);
  EXPECT_EQ(stage(kVictim), FailureStage::none);
  EXPECT_EQ(count(MemberState::died, {kVictim, 1}), 0u);
}

}  // namespace
}  // namespace dvm::fabric
