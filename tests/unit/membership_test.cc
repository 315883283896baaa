#include "fabric/membership.h"

#include <cstring>

#include "fabric/announcement.h"

#include "tests/unit/fabric_fixture.h"

namespace dvm::fabric {
namespace {

class MembershipTest : public FabricTest {
 protected:
  struct Member {
    InstanceId self;
    Membership group;
  };
  Member make(u32 id) {
    const InstanceId self = instances().join(id, ::getpid());
    return {self, Membership(everyone(), self, instances())};
  }
  void bury(InstanceId who, Membership& manager) {
    instances().retire(who, InstanceState::dead);
    ASSERT_TRUE(manager.announce_death(who));
    ASSERT_TRUE(manager.announce_recovery(who));
  }
  static std::vector<Notification> read_all(Membership& group) {
    std::vector<Notification> all(Group::kLog);
    const auto result = group.read(all);
    EXPECT_FALSE(result.overflowed);
    all.resize(result.count);
    return all;
  }
};

TEST_F(MembershipTest, MembersHearOfEachOtherInOrderWithGenerationAndPolicy) {
  Member a = make(1), b = make(2);
  ASSERT_TRUE(a.group.join({}).ok());
  ASSERT_TRUE(b.group.join({PolicyKind::routine, 3}).ok());
  ASSERT_TRUE(b.group.leave().ok());
  EXPECT_FALSE(b.group.leave().ok());
  const auto heard = read_all(a.group);
  ASSERT_EQ(heard.size(), 2u);
  EXPECT_EQ(heard[0].kind, MemberState::joined);
  EXPECT_EQ(heard[0].who, b.self);
  EXPECT_EQ(heard[0].policy, (Policy{PolicyKind::routine, 3}));
  EXPECT_EQ(heard[1].kind, MemberState::left);
  EXPECT_EQ(heard[1].sequence, heard[0].sequence + 1);
  EXPECT_TRUE(read_all(a.group).empty());
}

TEST_F(MembershipTest, ADeathIsAnnouncedOnceAndOnlyOfThatGeneration) {
  Member a = make(1), b = make(2);
  ASSERT_TRUE(a.group.join({}).ok());
  ASSERT_TRUE(b.group.join({}).ok());
  EXPECT_TRUE(a.group.announce_death({2, b.self.generation + 2})) << "another generation: nothing";
  EXPECT_TRUE(a.group.announce_recovery(b.self)) << "alive: nothing";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(a.group.announce_death(b.self));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(a.group.announce_recovery(b.self));
  const auto heard = read_all(a.group);
  ASSERT_EQ(heard.size(), 3u);
  EXPECT_EQ(heard[1].kind, MemberState::died);
  EXPECT_EQ(heard[1].deaths, 1u);
  EXPECT_EQ(heard[2].kind, MemberState::recovered);
}

TEST_F(MembershipTest, ADeadMemberRejoinsAfterItsRecovery) {
  Member a = make(1), b = make(2);
  ASSERT_TRUE(a.group.join({}).ok());
  ASSERT_TRUE(b.group.join({}).ok());
  EXPECT_FALSE(b.group.join({}).ok()) << "it is a member";
  instances().retire(b.self, InstanceState::dead);
  Member again = make(2);
  EXPECT_FALSE(again.group.join({}).ok()) << "its former life is not announced";
  ASSERT_TRUE(a.group.announce_death(b.self));
  EXPECT_FALSE(again.group.join({}).ok()) << "nor recovered";
  ASSERT_TRUE(a.group.announce_recovery(b.self));
  EXPECT_TRUE(again.group.join({}).ok());
  EXPECT_EQ(read_all(a.group).back().who, again.self);
}

TEST_F(MembershipTest, ASlowReaderCatchesUpAndNamesEveryGenerationThatDied) {
  Member slow = make(1), quick = make(2);
  ASSERT_TRUE(slow.group.join({}).ok());
  ASSERT_TRUE(quick.group.join({}).ok());
  std::vector<InstanceId> died;
  for (u32 round = 0; round < Group::kLog; ++round) {
    Member m = make(10 + round % 8);
    const Status joined = m.group.join({});
    if (!joined.ok()) {  // held back: the slow one would lose a death
      EXPECT_GE(round, 8 * MemberRecord::kDeaths);
      instances().retire(m.self, InstanceState::gone);
      break;
    }
    read_all(quick.group);
    if (round % 3 == 0) {
      ASSERT_TRUE(m.group.leave().ok());
      instances().retire(m.self, InstanceState::gone);
    } else {
      bury(m.self, quick.group);
      died.push_back(m.self);
    }
  }
  std::vector<Notification> none(4);
  const auto result = slow.group.read(none);
  EXPECT_TRUE(result.overflowed);
  const auto caught = slow.group.catch_up();
  ASSERT_EQ(caught.deaths.size(), died.size());
  for (std::size_t i = 0; i < died.size(); ++i) EXPECT_EQ(caught.deaths[i].who, died[i]);
  EXPECT_EQ(caught.view.members[2].who, quick.self);
  EXPECT_EQ(caught.view.members[2].state, MemberState::joined);
  EXPECT_TRUE(slow.group.catch_up().deaths.empty()) << "told once";
  EXPECT_TRUE(read_all(slow.group).empty());
}

TEST_F(MembershipTest, AnIdWithManyDeathsRejoinsOnlyWhenAllHaveReadOfThem) {
  Member slow = make(1);
  ASSERT_TRUE(slow.group.join({}).ok());
  for (u32 i = 0; i < MemberRecord::kDeaths; ++i) {
    Member m = make(2);
    ASSERT_TRUE(m.group.join({}).ok());
    bury(m.self, slow.group);
  }
  Member m = make(2);
  EXPECT_FALSE(m.group.join({}).ok());
  read_all(slow.group);
  EXPECT_TRUE(m.group.join({}).ok());
}

TEST_F(MembershipTest, AnAnnouncementDoesNotWaitForALockWhoseHolderMayHang) {
  Member a = make(1), hung = make(2), dead = make(3);
  for (Member* m : {&a, &hung, &dead}) ASSERT_TRUE(m->group.join({}).ok());
  everyone().lock.owner.store(hung.self.packed());
  EXPECT_FALSE(a.group.announce_death(dead.self));
  instances().retire(hung.self, InstanceState::fenced);
  EXPECT_TRUE(a.group.announce_death(dead.self)) << "the lock is taken over from the dead";
}

// At every point of a change, its maker is killed: the change has happened wholly or not at all.
TEST_F(MembershipTest, DeathAtAnyPointOfAChangeLeavesItWholeOrUndone) {
  const std::vector<std::string> points = {"group.change",  "group.written", "group.armed",
                                           "group.logged",  "group.counted", "group.stated",
                                           "group.applied", "group.done"};
  Member observer = make(kObserver);
  ASSERT_TRUE(observer.group.join({}).ok());
  for (const std::string& point : points) {
    for (u32 skip : {0u, 1u}) {  // in the join, in the leave
      SCOPED_TRACE(point + fmt::format(" {}", skip));
      ASSERT_TRUE(arm_fault(world_->faults, point, FaultAction::kill, skip, 5, 0));
      const pid_t child = fork_as(5, [this](InstanceId self) {
        Membership group(everyone(), self, instances());
        if (!group.join({}).ok() || !group.leave().ok()) ::_exit(1);
      });
      EXPECT_TRUE(WIFSIGNALED(reap(child)));
      const InstanceId who = current(5);
      bury(who, observer.group);
      const auto heard = read_all(observer.group);
      const auto of = [&](MemberState kind) {
        return std::count_if(heard.begin(), heard.end(),
                             [&](const Notification& n) { return n.kind == kind && n.who == who; });
      };
      EXPECT_LE(of(MemberState::joined), 1);
      EXPECT_EQ(of(MemberState::joined), of(MemberState::left) + of(MemberState::died));
      EXPECT_EQ(of(MemberState::died), of(MemberState::recovered));
      EXPECT_GE(of(MemberState::joined), static_cast<long>(skip));
      EXPECT_EQ(everyone().armed.load(), 0u);
      EXPECT_EQ(everyone().lock.owner.load(), 0u);
    }
  }
}

// Its change is armed, so it counts as made; but the group's log is still empty.
TEST_F(MembershipTest, TheVeryFirstMemberThatDiesInItsJoinIsAnnounced) {
  for (const char* point : {"group.written", "group.armed", "group.logged", "group.stated"}) {
    SCOPED_TRACE(point);
    std::memset(static_cast<void*>(&everyone()), 0, sizeof(Group));
    ASSERT_TRUE(arm_fault(world_->faults, point, FaultAction::kill, 0, 5, 0));
    EXPECT_TRUE(WIFSIGNALED(reap(fork_as(5, [this](InstanceId self) {
      (void)Membership(everyone(), self, instances()).join({});
    }))));
    const InstanceId who = current(5);
    begin_failure(fabric().failures, instances(), who, FailureCause::died);
    advance(fabric().failures, who, FailureStage::suspect, FailureStage::fenced);
    const InstanceId manager = instances().join(6, 0);
    EXPECT_TRUE(announce_failure(fabric(), instances(), who, manager));
    EXPECT_EQ(recover(fabric(), instances(), {}, manager, 5), RecoveryResult::done);
    const auto m = member(5);
    EXPECT_TRUE(m.who != who || m.state == MemberState::recovered);
    EXPECT_EQ(count(MemberState::died, who), count(MemberState::joined, who));
  }
}

// A manager that dies while announcing: the next one announces, and it is heard once.
TEST_F(MembershipTest, AnAnnouncerKilledAtAnyPointIsFollowedByAnother) {
  Member observer = make(kObserver);
  ASSERT_TRUE(observer.group.join({}).ok());
  for (const char* point : {"group.change", "group.written", "group.armed", "group.logged",
                            "group.counted", "group.stated", "group.applied", "group.done"}) {
    SCOPED_TRACE(point);
    Member victim = make(5);
    ASSERT_TRUE(victim.group.join({}).ok());
    instances().retire(victim.self, InstanceState::fenced);
    ASSERT_TRUE(arm_fault(world_->faults, point, FaultAction::kill, 0, 6, 0));
    reap(fork_as(6, [&](InstanceId self) {
      Membership(everyone(), self, instances()).announce_death(victim.self);
    }));
    instances().retire(current(6), InstanceState::dead);
    ASSERT_TRUE(observer.group.announce_death(victim.self));
    ASSERT_TRUE(observer.group.announce_recovery(victim.self));
    EXPECT_EQ(count(MemberState::died, victim.self), 1u);
    EXPECT_EQ(count(MemberState::recovered, victim.self), 1u);
  }
}

}  // namespace
}  // namespace dvm::fabric
