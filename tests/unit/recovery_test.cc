#include "fabric/recovery.h"

#include "tests/unit/fabric_fixture.h"

namespace dvm::fabric {
namespace {

class RecoveryTest : public FabricTest {
 protected:
  static constexpr u32 kDead = 9;

  void SetUp() override {
    FabricTest::SetUp();
    for (u64 i = 0; i < 3; ++i) {
      table_.add(fmt::format("routine {}", i), [this, i](InstanceId dead) {
        order_ = order_ * 10 + i + 1;
        world_->scratch[i].store(dead.packed());
        world_->scratch[10 + i].fetch_add(1);
      });
    }
    requested_ = table_.add(
        "on request", [this](InstanceId) { world_->scratch[13].fetch_add(1); }, true);
  }
  // A failure as the manager leaves it to the runners.
  InstanceId fail(Policy policy = {}) {
    const InstanceId dead = instances().join(kDead, 0);
    Membership group(everyone(), dead, instances());
    EXPECT_TRUE(group.join(policy).ok());
    begin_failure(fabric().failures, instances(), dead, FailureCause::died);
    advance(fabric().failures, dead, FailureStage::suspect, FailureStage::fenced);
    instances().retire(dead, InstanceState::fenced);
    EXPECT_TRUE(group.announce_death(dead));
    fabric().failures[kDead].runner.store(0);
    advance(fabric().failures, dead, FailureStage::fenced, FailureStage::announced);
    return dead;
  }
  RecoveryResult recover_as(u32 id) {
    return recover(fabric(), instances(), table_, {id, instances().slots[id].generation.load()},
                   kDead);
  }
  RecoveryTable table_;
  u32 requested_ = 0;
  u64 order_ = 0;
};

TEST_F(RecoveryTest, RunsEveryRoutineInOrderOnceThenTheFailureIsOver) {
  instances().join(1, 0);
  const InstanceId dead = fail();
  EXPECT_EQ(recover_as(1), RecoveryResult::done);
  EXPECT_EQ(order_, 123u);
  EXPECT_EQ(world_->scratch[0].load(), dead.packed());
  EXPECT_EQ(world_->scratch[13].load(), 0u) << "nobody asked for it";
  EXPECT_EQ(stage(kDead), FailureStage::dead);
  EXPECT_EQ(instances().slots[kDead].state.load(), InstanceState::dead);
  EXPECT_EQ(count(MemberState::recovered, dead), 1u);
  EXPECT_EQ(recover_as(1), RecoveryResult::not_due);
}

TEST_F(RecoveryTest, AMembersOwnRoutineRunsForIt) {
  instances().join(1, 0);
  fail({PolicyKind::routine, requested_});
  EXPECT_EQ(recover_as(1), RecoveryResult::done);
  EXPECT_EQ(world_->scratch[13].load(), 1u);
}

TEST_F(RecoveryTest, ALivingRunnerIsLeftAloneAndADeadOneReplaced) {
  const InstanceId first = instances().join(1, 0);
  instances().join(2, 0);
  fail();
  fabric().failures[kDead].runner.store(first.packed());
  EXPECT_EQ(recover_as(2), RecoveryResult::taken);
  instances().retire(first, InstanceState::fenced);
  EXPECT_EQ(recover_as(2), RecoveryResult::done);
}

TEST_F(RecoveryTest, ARunnerKilledAtAnyPointIsFollowedByAnother) {
  for (const char* point : {"recovery.claimed", "recovery.step", "recovery.stepped",
                            "recovery.salvaged", "recovery.told"}) {
    for (u32 skip = 0; skip < (std::string_view(point).starts_with("recovery.step") ? 4u : 1u);
         ++skip) {
      SCOPED_TRACE(fmt::format("{} {}", point, skip));
      for (auto& s : world_->scratch) s.store(0);
      const InstanceId dead = fail();
      ASSERT_TRUE(arm_fault(world_->faults, point, FaultAction::kill, skip, 1, 0));
      EXPECT_TRUE(WIFSIGNALED(reap(fork_as(1, [&](InstanceId) { recover_as(1); }))));
      instances().retire(current(1), InstanceState::fenced);
      instances().join(2, 0);
      EXPECT_EQ(recover_as(2), RecoveryResult::done);
      for (u64 i = 0; i < 3; ++i) {
        EXPECT_EQ(world_->scratch[i].load(), dead.packed());
        EXPECT_LE(world_->scratch[10 + i].load(), 2u) << "only the step it died in runs again";
      }
      EXPECT_LE(
          world_->scratch[10].load() + world_->scratch[11].load() + world_->scratch[12].load(), 4u);
      EXPECT_EQ(stage(kDead), FailureStage::dead);
      EXPECT_EQ(count(MemberState::recovered, dead), 1u);
    }
  }
}

TEST_F(RecoveryTest, ManyRunnersRunItOnce) {
  for (u32 id = 1; id <= 4; ++id) {
    fork_as(id, [this](InstanceId self) {
      while (world_->scratch[63].load() == 0) {
      }
      recover(fabric(), instances(), table_, self, kDead);
    });
  }
  fail();
  world_->scratch[63].store(1);
  while (!children_.empty()) reap(children_.begin()->first);
  for (u64 i = 0; i < 3; ++i) EXPECT_EQ(world_->scratch[10 + i].load(), 1u);
  EXPECT_EQ(stage(kDead), FailureStage::dead);
}

TEST_F(RecoveryTest, ProcessesWithOtherRoutinesAreRefused) {
  EXPECT_TRUE(table_.agree(fabric()).ok());
  EXPECT_TRUE(table_.agree(fabric()).ok());
  RecoveryTable other;
  other.add("routine 0", [](InstanceId) {});
  EXPECT_FALSE(other.agree(fabric()).ok());
}

TEST(FailureWordTest, EveryStageIsEnteredOnceAndOnlyByItsGeneration) {
  static FailureTable table;
  static InstanceTable instances;
  const InstanceId who = instances.join(3, 0);
  EXPECT_TRUE(begin_failure(table, instances, who, FailureCause::silent));
  EXPECT_FALSE(begin_failure(table, instances, who, FailureCause::died))
      << "the first cause stands";
  EXPECT_EQ(look(table[3]).cause, FailureCause::silent);
  EXPECT_EQ(instances.slots[3].state.load(), InstanceState::suspect);
  EXPECT_FALSE(
      advance(table, {3, who.generation + 2}, FailureStage::suspect, FailureStage::fenced));
  EXPECT_TRUE(advance(table, who, FailureStage::suspect, FailureStage::fenced));
  EXPECT_FALSE(advance(table, who, FailureStage::suspect, FailureStage::fenced));
  EXPECT_FALSE(begin_failure(table, instances, {3, who.generation + 2}, FailureCause::died))
      << "the former failure is not over";
}

}  // namespace
}  // namespace dvm::fabric
