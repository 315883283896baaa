// The tasks of a phase: who takes which, and that each counts once.
#include <gtest/gtest.h>

#include <array>

#include "tools/mapreduce/crash_plan.h"
#include "tools/mapreduce/task_table.h"

namespace dvm::mapreduce {
namespace {

using fabric::InstanceId;
using fabric::InstanceState;

class TaskTableTest : public ::testing::Test {
 protected:
  static constexpr u32 kTasks = 4;
  TaskTable table() { return {words_, next_}; }
  TaskTable::Claim claim(InstanceId who) { return table().claim(who, instances_); }

  fabric::InstanceTable instances_{};
  std::array<std::atomic<u64>, kTasks> words_{};
  std::atomic<u64> next_{0};
  const InstanceId one_ = instances_.join(1, 0), two_ = instances_.join(2, 0);
};

TEST(TaskWord, EveryStateSurvivesPacking) {
  for (const TaskWord& word :
       {TaskWord{}, TaskWord::running({63, 0xffff'ffff}), TaskWord::running({0, 1}),
        TaskWord::done(0), TaskWord::done(0xffff'ffff)})
    EXPECT_EQ(TaskWord::unpack(word.packed()), word);
}

TEST_F(TaskTableTest, TasksAreTakenInOrderAndOnceEach) {
  for (u32 i = 0; i < kTasks; ++i) {
    const auto claim = this->claim(i % 2 == 0 ? one_ : two_);
    EXPECT_EQ(claim.task, i);
    EXPECT_FALSE(claim.again);
  }
  EXPECT_FALSE(claim(one_).task);
  EXPECT_FALSE(claim(one_).all_done) << "they are still running";
}

TEST_F(TaskTableTest, AResultCountsOnceAndOnlyItsOwners) {
  ASSERT_EQ(claim(one_).task, 0u);
  EXPECT_FALSE(table().commit(0, two_, 7));
  EXPECT_TRUE(table().commit(0, one_, 5));
  EXPECT_FALSE(table().commit(0, one_, 6));
  EXPECT_EQ(table().look(0), TaskWord::done(5));
  EXPECT_FALSE(table().commit(1, one_, 5)) << "nobody has begun it";
}

TEST_F(TaskTableTest, WhatADeadOneWasDoingIsFreedOnceItIsRetired) {
  ASSERT_EQ(claim(one_).task, 0u);
  ASSERT_EQ(claim(two_).task, 1u);
  ASSERT_EQ(claim(one_).task, 2u);
  ASSERT_TRUE(table().commit(2, one_, 1));
  instances_.retire(one_, InstanceState::dead);
  EXPECT_EQ(table().release(one_), 1u);
  EXPECT_EQ(table().release(one_), 0u);
  EXPECT_EQ(table().look(0), TaskWord{});
  EXPECT_EQ(table().look(1), TaskWord::running(two_));
  EXPECT_EQ(table().look(2), TaskWord::done(1)) << "it was committed";
}

TEST_F(TaskTableTest, AStaleOwnersTaskIsTakenByAnyoneWhoLooks) {
  for (u32 i = 0; i < kTasks; ++i) ASSERT_EQ(claim(one_).task, i);
  EXPECT_FALSE(claim(two_).task);
  instances_.retire(one_, InstanceState::dead);
  for (u32 i = 0; i < kTasks; ++i) {
    const auto again = claim(two_);
    EXPECT_EQ(again.task, i);
    EXPECT_TRUE(again.again);
    EXPECT_FALSE(table().commit(i, one_, 9)) << "the dead one's step, had it been late";
    EXPECT_TRUE(table().commit(i, two_, 3));
  }
  EXPECT_TRUE(claim(two_).all_done);
}

TEST_F(TaskTableTest, ASuccessorDoesNotPassForItsPredecessor) {
  ASSERT_EQ(claim(one_).task, 0u);
  instances_.retire(one_, InstanceState::dead);
  const InstanceId successor = instances_.join(1, 0);
  EXPECT_FALSE(table().commit(0, successor, 1));
  EXPECT_EQ(table().release(one_), 1u);
}

// It died between moving the hint on and taking the task.
TEST_F(TaskTableTest, ATaskThatTheHintHasPassedIsFoundAtTheEnd) {
  next_.store(2);
  EXPECT_EQ(claim(one_).task, 2u);
  EXPECT_EQ(claim(one_).task, 3u);
  EXPECT_EQ(claim(one_).task, 0u);
  EXPECT_EQ(claim(one_).task, 1u);
  next_.store(~0ull - 1);
  EXPECT_FALSE(claim(one_).task);
}

TEST(CrashPlan, OneCrashInEveryPieceOfTheRun) {
  for (const u32 crashes : {0u, 1u, 8u, 64u}) {
    for (u64 seed = 0; seed < 100; ++seed) {
      const auto moments = spread_crashes(crashes, seed);
      ASSERT_EQ(moments.size(), crashes);
      for (u32 i = 0; i < crashes; ++i) {
        EXPECT_GE(moments[i], static_cast<double>(i) / crashes);
        EXPECT_LT(moments[i], (i + 0.99) / crashes);
      }
    }
  }
  EXPECT_EQ(spread_crashes(8, 3), spread_crashes(8, 3));
  EXPECT_NE(spread_crashes(8, 3), spread_crashes(8, 4));
}

}  // namespace
}  // namespace dvm::mapreduce
