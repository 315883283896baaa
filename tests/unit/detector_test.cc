#include "fabric/detector.h"

#include <gtest/gtest.h>

namespace dvm::fabric {
namespace {

using Kind = Observation::Kind;
using V = Verdict::Kind;
constexpr u64 kMs = 1'000'000;

class DetectorTest : public ::testing::Test {
 protected:
  std::vector<V> see(const Observation& o) {
    std::vector<V> kinds;
    for (const Verdict& v : step(state, o)) {
      kinds.push_back(v.kind);
      last = v;
    }
    return kinds;
  }
  std::vector<V> tick(u64 after_ms = 125) {
    return see({.kind = Kind::tick, .value = now += after_ms * kMs});
  }
  void join(InstanceId who, u32 host = 0) { see({.kind = Kind::joined, .who = who, .host = host}); }
  // Ticks on until there is a verdict; returns how long it took.
  u64 silence_until_verdict_ms() {
    const u64 start = now;
    for (int i = 0; i < 100; ++i) {
      if (!tick().empty()) return (now - start) / kMs;
    }
    return 0;
  }
  DetectorState state{.config = {.deadline_ns = 500 * kMs}};
  u64 now = 1'000'000 * kMs;
  Verdict last{};
  const InstanceId a{1, 5}, b{2, 1}, c{3, 1};
};

using List = std::vector<V>;

TEST_F(DetectorTest, ALostLifeIsPoweredOffThenFencedOnceStoppedAndDrained) {
  join(a);
  EXPECT_EQ(see({.kind = Kind::life_lost, .who = a}), List{V::power_off});
  EXPECT_EQ(last.cause, FailureCause::died);
  EXPECT_EQ(see({.kind = Kind::life_lost, .who = a}), List{});
  EXPECT_EQ(see({.kind = Kind::drained, .who = a}), List{});
  EXPECT_EQ(see({.kind = Kind::stopped, .who = a}), List{V::fenced});
  EXPECT_EQ(see({.kind = Kind::stopped, .who = a}), List{});
}

TEST_F(DetectorTest, SilenceLastsTheDeadlineAndAtMostATickMore) {
  join(a);
  tick();
  EXPECT_EQ(silence_until_verdict_ms(), 625u);
  EXPECT_EQ(last.kind, V::power_off);
  EXPECT_EQ(last.cause, FailureCause::silent);
}

TEST_F(DetectorTest, WhoBeatsIsNeverSuspectedAndASlowBeatComesTooLate) {
  join(a);
  for (u64 i = 1; i < 100; ++i) {
    see({.kind = Kind::beat, .who = a, .value = i});
    EXPECT_EQ(tick(), List{});
  }
  silence_until_verdict_ms();
  see({.kind = Kind::beat, .who = a, .value = 1000});
  EXPECT_EQ(state.members[a.id].state, InstanceState::suspect) << "there is no way back";
}

TEST_F(DetectorTest, AWatcherThatSleptJudgesNobodyByIt) {
  join(a);
  tick();
  EXPECT_EQ(tick(60'000), List{}) << "a minute not watched";
  see({.kind = Kind::beat, .who = a, .value = 1});
  EXPECT_EQ(tick(60'000), List{});
}

TEST_F(DetectorTest, ALongerAllowanceIsKeptToo) {
  join(a);
  tick();
  see({.kind = Kind::beat, .who = a, .value = 1, .allowance_ns = 5000 * kMs});
  EXPECT_EQ(silence_until_verdict_ms(), 5125u);
}

TEST_F(DetectorTest, WithoutADeadlineSilenceIsNothing) {
  state.config.deadline_ns = 0;
  join(a);
  EXPECT_EQ(silence_until_verdict_ms(), 0u);
}

TEST_F(DetectorTest, AnotherHostThatIsSilentThroughoutIsPoweredOffAsOne) {
  join(a, 4);
  join(b, 4);
  join(c, 0);
  tick();
  for (int i = 0; i < 4; ++i) {
    see({.kind = Kind::beat, .who = c, .value = static_cast<u64>(i + 1)});
    EXPECT_EQ(tick(), List{});
  }
  see({.kind = Kind::beat, .who = c, .value = 9});
  EXPECT_EQ(tick(), (List{V::power_off_host, V::power_off, V::power_off}));
  EXPECT_EQ(state.members[c.id].state, InstanceState::active);
  EXPECT_EQ(state.members[b.id].cause, FailureCause::host_silent);
}

TEST_F(DetectorTest, OneSilentMemberOfABeatingHostGoesAlone) {
  join(a, 4);
  join(b, 4);
  tick();
  std::vector<V> verdicts;
  for (u64 i = 1; verdicts.empty() && i < 20; ++i) {
    see({.kind = Kind::beat, .who = b, .value = i});
    verdicts = tick();
  }
  EXPECT_EQ(verdicts, List{V::power_off});
  EXPECT_EQ(last.who, a);
}

TEST_F(DetectorTest, WhoCannotBeFencedIsReportedOnceAndNeverAnnounced) {
  join(a);
  see({.kind = Kind::life_lost, .who = a});
  see({.kind = Kind::stopped, .who = a});
  List all;
  for (int i = 0; i < 100; ++i) {
    for (const V v : tick()) all.push_back(v);
  }
  EXPECT_EQ(all, List{V::overdue});
  EXPECT_EQ(see({.kind = Kind::drained, .who = a}), List{V::fenced});
}

TEST_F(DetectorTest, WhatIsSaidOfAnEarlierGenerationIsIgnored) {
  join(a);
  EXPECT_EQ(see({.kind = Kind::life_lost, .who = {a.id, a.generation - 1}}), List{});
  EXPECT_EQ(see({.kind = Kind::life_lost, .who = {kMaxInstances, 1}}), List{});
  see({.kind = Kind::left, .who = a});
  EXPECT_EQ(see({.kind = Kind::life_lost, .who = a}), List{});
  EXPECT_EQ(silence_until_verdict_ms(), 0u);
}

TEST_F(DetectorTest, ANewWatcherGoesOnWithAnEarlierOnesSuspect) {
  join(a);
  EXPECT_EQ(see({.kind = Kind::suspected, .who = a, .cause = FailureCause::silent}),
            List{V::power_off});
  EXPECT_EQ(last.cause, FailureCause::silent);
}

}  // namespace
}  // namespace dvm::fabric
