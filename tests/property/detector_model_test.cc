// The detector against random observations in random order: what must hold whatever happens.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "fabric/detector.h"

namespace dvm::fabric {
namespace {

using Kind = Observation::Kind;

// What the test knows of one instance, from the observations alone.
struct Known {
  bool joined = false, left = false;
  bool suspect = false;  // was powered off
  bool stopped_after = false, drained_after = false;
  int power_offs = 0, fences = 0;
  u64 ticks_since_beat = 0;
  bool lost = false;
};

class DetectorModel {
 public:
  explicit DetectorModel(u32 seed) : random_(seed) { state_.config.own_host = 0; }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      const Observation o = draw();
      before(o);
      const auto verdicts = step(state_, o);
      for (const Verdict& v : verdicts) check(v, o);
      ASSERT_FALSE(::testing::Test::HasFailure());
    }
    finish();
  }

 private:
  u32 below(u32 n) { return std::uniform_int_distribution<u32>(0, n - 1)(random_); }
  Known& known(InstanceId who) { return known_[who.packed()]; }

  Observation draw() {
    const u32 id = below(6);
    Observation o{.kind = static_cast<Kind>(below(8)),
                  .who = {id, generation_[id] - below(10) / 9}};
    o.host = id / 2;
    o.value = below(3) != 0 ? ++beats_ : beats_;
    o.allowance_ns = 0;
    if (o.kind == Kind::joined && below(3) == 0) o.who.generation = ++generation_[id];
    if (o.kind == Kind::left && below(4) != 0) o.kind = Kind::beat;
    if (o.kind == Kind::life_lost && below(8) != 0) o.kind = Kind::beat;
    if (o.kind == Kind::suspected) o.cause = FailureCause::died;
    if (o.kind == Kind::suspected && below(8) != 0) o.kind = Kind::tick;
    if (o.kind == Kind::tick)
      o.value = now_ += u64{below(400)} * 1'000'000 + (below(50) == 0 ? 60'000'000'000 : 0);
    return o;
  }

  void before(const Observation& o) {
    if (o.kind == Kind::tick) {
      for (auto& [who, k] : known_) ++k.ticks_since_beat;
      return;
    }
    const DetectorMember& m = state_.members[o.who.id];
    const bool there = m.instance == o.who && m.state != InstanceState::none;
    Known& k = known(o.who);
    if (o.kind == Kind::joined && m.state == InstanceState::none) k = {.joined = true};
    if (!there) return;
    if (o.kind == Kind::beat && o.value != m.beats) k.ticks_since_beat = 0;
    if (o.kind == Kind::left) k.left = true;
    if (o.kind == Kind::life_lost || o.kind == Kind::suspected) k.lost = true;
    if (o.kind == Kind::stopped && k.suspect) k.stopped_after = true;
    if (o.kind == Kind::drained && k.suspect) k.drained_after = true;
  }

  void check(const Verdict& v, const Observation& o) {
    Known& k = known(v.who);
    EXPECT_TRUE(k.joined && !k.left) << "nobody unknown is judged";
    switch (v.kind) {
      case Verdict::Kind::power_off:
        EXPECT_EQ(++k.power_offs, 1);
        if (v.cause == FailureCause::died) {
          EXPECT_TRUE(k.lost);
        } else {
          EXPECT_EQ(o.kind, Kind::tick);
          // A deadline of four ticks, at no more than one and a half for each look.
          EXPECT_GE(k.ticks_since_beat, 3u) << "too few looks to judge silence by";
        }
        k.suspect = true;
        break;
      case Verdict::Kind::power_off_host:
        EXPECT_NE(v.host, state_.config.own_host);
        for (const DetectorMember& m : state_.members) {
          if (m.host != v.host) continue;
          EXPECT_NE(m.state, InstanceState::active);
        }
        break;
      case Verdict::Kind::fenced:
        EXPECT_EQ(++k.fences, 1);
        EXPECT_TRUE(k.suspect && k.stopped_after && k.drained_after);
        break;
      case Verdict::Kind::overdue: EXPECT_TRUE(k.suspect && k.fences == 0); break;
    }
  }

  // Nothing is lost: what is suspect now is fenced as soon as it is stopped and drained.
  void finish() {
    for (const DetectorMember& m : state_.members) {
      if (m.state != InstanceState::suspect) continue;
      const InstanceId who = m.instance;
      auto verdicts = step(state_, {.kind = Kind::stopped, .who = who});
      for (const Verdict& v : step(state_, {.kind = Kind::drained, .who = who}))
        verdicts.push_back(v);
      ASSERT_EQ(verdicts.size(), 1u);
      EXPECT_EQ(verdicts[0].kind, Verdict::Kind::fenced);
    }
  }

  std::mt19937 random_;
  DetectorState state_;
  std::map<u64, Known> known_;
  std::array<u32, 6> generation_{2, 2, 2, 2, 2, 2};
  u64 beats_ = 0;
  u64 now_ = 1;
};

TEST(DetectorModelTest, HoldsItsPromisesUnderRandomObservations) {
  for (u32 seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    DetectorModel(seed).run(2000);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace dvm::fabric
