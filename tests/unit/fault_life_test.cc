#include "fabric/fault_life.h"

#include <gtest/gtest.h>

#include <random>

#include "fabric/fault_board.h"

namespace dvm::fabric {
namespace {

using Order = FaultStep::Order;
using Executor = FaultSight::Executor;

TEST(FaultLife, WaitsForItsTime) {
  const FaultLife life{FaultStage::armed, TriggerKind::at, 100, 0};
  const FaultStep early = step(life, {.now_ns = 99, .chosen = true});
  EXPECT_EQ(early.order, Order::nothing);
  EXPECT_EQ(early.look_again_ns, 100u);
  const FaultStep due = step(life, {.now_ns = 100, .chosen = true});
  EXPECT_EQ(due.order, Order::start);
  EXPECT_EQ(due.life.stage, FaultStage::acting);
}

TEST(FaultLife, OnlyTheChosenStartsIt) {
  const FaultLife life{FaultStage::armed, TriggerKind::now, 0, 0};
  const FaultStep next = step(life, {.now_ns = 5});
  EXPECT_EQ(next.order, Order::nothing);
  EXPECT_EQ(next.life.stage, FaultStage::armed);
  EXPECT_EQ(next.look_again_ns, 5 + kFaultPollNs) << "the chosen one may die";
}

TEST(FaultLife, ThatOfAPointWaitsForItsHit) {
  FaultLife life{FaultStage::armed, TriggerKind::point, 0, 0};
  EXPECT_EQ(step(life, {.now_ns = 1u << 30, .chosen = true}).order, Order::nothing);
  life.stage = FaultStage::due;
  // The hit itself may have been its target's end.
  EXPECT_EQ(step(life, {.now_ns = 1, .target_gone = true, .chosen = true}).order, Order::start);
}

TEST(FaultLife, OneWhoseTargetIsGoneIsDropped) {
  const FaultLife life{FaultStage::armed, TriggerKind::point, 0, 0};
  const FaultStep next = step(life, {.target_gone = true, .chosen = true});
  EXPECT_EQ(next.order, Order::drop);
  EXPECT_EQ(next.life.stage, FaultStage::failed);
}

TEST(FaultLife, EndsAtItsTimeOrWithItsTarget) {
  const FaultLife life{FaultStage::acting, TriggerKind::now, 0, 50};
  EXPECT_EQ(step(life, {.now_ns = 49, .executor = Executor::self}).order, Order::nothing);
  EXPECT_EQ(step(life, {.now_ns = 50, .executor = Executor::self}).order, Order::end);
  EXPECT_EQ(step(life, {.now_ns = 1, .target_gone = true, .executor = Executor::self}).order,
            Order::end);
}

TEST(FaultLife, AnotherGoesOnForADeadExecutor) {
  const FaultLife life{FaultStage::acting, TriggerKind::now, 0, 50};
  EXPECT_EQ(step(life, {.now_ns = 60, .chosen = true, .executor = Executor::living}).order,
            Order::nothing);
  EXPECT_EQ(step(life, {.now_ns = 60, .chosen = true, .executor = Executor::dead}).order,
            Order::start_again);
}

TEST(FaultLife, RandomWalksStartEndOrDropOnceAndStayOver) {
  for (u32 seed = 1; seed <= 2000; ++seed) {
    std::mt19937 random(seed);
    FaultLife life{FaultStage::armed, static_cast<TriggerKind>(random() % 4), random() % 100, 0};
    u32 ends = 0, drops = 0, starts = 0;
    FaultSight seen;
    for (int i = 0; i < 200; ++i) {
      seen.now_ns += random() % 5;
      seen.target_gone = seen.target_gone || random() % 100 == 0;
      seen.chosen = random() % 2 == 0;
      seen.executor = static_cast<Executor>(random() % 4);
      if (life.stage == FaultStage::armed && life.trigger == TriggerKind::point &&
          random() % 10 == 0)
        life.stage = FaultStage::due;
      const FaultStep next = step(life, seen);
      life = next.life;
      life.until_ns = 120;
      starts += next.order == Order::start ? 1 : 0;
      ends += next.order == Order::end ? 1 : 0;
      drops += next.order == Order::drop ? 1 : 0;
      ASSERT_FALSE(next.order == Order::end && life.stage != FaultStage::done) << seed;
    }
    ASSERT_LE(starts, 1u) << "seed " << seed;
    ASSERT_LE(ends + drops, 1u) << "seed " << seed;
  }
}

TEST(FaultBoard, RandomTimesRepeatWithTheirSeedAndHaveTheirMean) {
  EXPECT_EQ(random_delay_ms(7, 1000), random_delay_ms(7, 1000));
  double sum = 0;
  for (u64 seed = 0; seed < 20'000; ++seed) sum += static_cast<double>(random_delay_ms(seed, 1000));
  EXPECT_NEAR(sum / 20'000, 1000, 30);
}

TEST(FaultBoard, TakesAsManyAsItHasRecordsAndUsesThemAgain) {
  auto board = std::make_unique<FaultBoard>();
  FaultRequest request{.kind = FaultKind::panic_guest};
  for (u32 i = 1; i <= FaultBoard::kRecords; ++i) {
    const auto number = post_fault(*board, request);
    ASSERT_TRUE(number.ok());
    EXPECT_EQ(*number, i);
  }
  EXPECT_FALSE(post_fault(*board, request).ok());
  FaultRecord& fifth = board->records[4];
  fifth.word.store(FaultWord{FaultStage::done, 5, {}}.packed());
  ASSERT_TRUE(post_fault(*board, request).ok());
  EXPECT_EQ(find_fault(*board, 5), nullptr);
  EXPECT_EQ(find_fault(*board, FaultBoard::kRecords + 1), &fifth);
}

TEST(FaultBoard, AHitMakesItsFaultDueOnce) {
  auto board = std::make_unique<FaultBoard>();
  FaultRequest request{.kind = FaultKind::telemetry, .trigger = TriggerKind::point, .target = 3};
  request.occurrence = 2;
  request.point = {'p'};
  ASSERT_TRUE(post_fault(*board, request).ok());
  watch_faults(&board->points, 3);
  on_fault_fired([&](const ArmedFault& fault) { fault_fired(*board, fault); });
  failpoint("p");
  EXPECT_EQ(look(board->records[0]).stage, FaultStage::armed);
  failpoint("p");
  EXPECT_EQ(look(board->records[0]).stage, FaultStage::due);
  EXPECT_EQ(board->points.armed.load(), 0u);
  watch_faults(nullptr, ~0u);
  on_fault_fired(nullptr);
}

}  // namespace
}  // namespace dvm::fabric
