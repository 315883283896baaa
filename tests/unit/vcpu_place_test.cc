// The protocol by which a vCPU changes its node: every order of steps, with deaths at any of them.
#include "vmm/vcpu_place.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

namespace dvm::vmm {
namespace {

using Kind = PlaceStep::Kind;

constexpr u8 kNodes = 3;

// The place, and beside it what it is about.
struct World {
  VcpuPlace place;
  int holder = 0;      // whose KVM has the vCPU as it is; -1: nobody's
  int kept = -1;       // the dead node whose keeper lives, and whose KVM has it
  bool saved = false;  // the pool has it as it is
  u8 alive = 0b111;

  auto key() const { return std::tuple(place.packed(), holder, kept, saved, alive); }
  bool lives(int node) const { return (alive >> node & 1) != 0; }
};

class Exploration {
 public:
  // Asks at most so often, which bounds it.
  explicit Exploration(u32 moves) : most_moves_(moves) { visit({}); }

  void run() {
    while (!waiting_.empty()) {
      const World w = waiting_.front();
      waiting_.pop_front();
      check(w);
      expand(w);
    }
  }
  std::size_t states() const { return seen_.size(); }
  u32 most_arrived() const { return arrived_; }

 private:
  void visit(const World& w) {
    if (seen_.emplace(w.key(), true).second) waiting_.push_back(w);
  }

  void check(const World& w) {
    const VcpuPlace p = w.place;
    SCOPED_TRACE(testing::Message() << "node " << int{p.node} << " target " << int{p.target}
                                    << " stage " << static_cast<int>(p.stage));
    if (p.stage == PlaceStage::arriving) {
      EXPECT_TRUE(w.saved) << "it is in the pool, whoever dies";
      EXPECT_EQ(w.holder, -1) << "and nobody runs it";
    } else if (w.lives(p.node)) {
      EXPECT_EQ(w.holder, p.node) << "it is where its place says";
    } else {
      EXPECT_EQ(w.holder, -1);
      EXPECT_TRUE(w.kept == -1 || w.kept == p.node) << "a keeper has it only where its place says";
    }
    arrived_ = std::max(arrived_, p.stage == PlaceStage::settled ? p.moves : 0);
  }

  void step(World w, PlaceStep s) {
    if (const auto next = place_after(w.place, s)) {
      w.place = *next;
      if (s.kind == Kind::hand_over || s.kind == Kind::give_up) w.holder = w.kept = -1;
      if (s.kind == Kind::arrived) {
        w.holder = s.node;
        w.saved = false;  // it runs on from there
      }
      visit(w);
    }
  }

  void expand(const World& w) {
    for (u8 node = 0; node < kNodes; ++node) {
      if (w.place.moves < most_moves_) step(w, {Kind::ask, node});
      if (!w.lives(node)) {
        dead_acts(w, node);
        if (w.place.target == node)
          step(w, {.kind = Kind::call_off, .refusal = MoveRefusal::target_died});
        continue;
      }
      step(w, {Kind::prepared, node});
      step(w, {.kind = Kind::call_off, .refusal = MoveRefusal::timed_out});
      step(w, {Kind::arrived, node});
      if (w.holder == node) holder_acts(w, node);
      World dead = w;
      dead.alive = static_cast<u8>(dead.alive & ~(1u << node));
      if (dead.holder == node) {
        dead.holder = -1;
        dead.kept = node;
      }
      visit(dead);
      dead.kept = w.kept;  // its keeper as well
      visit(dead);
    }
  }

  // The keeper reads the state out, leaves the vCPU to a living node, and may die before either.
  // What a dead node had not taken yet, anybody passes on.
  void dead_acts(const World& w, u8 node) {
    for (u8 heir = 0; heir < kNodes; ++heir) {
      if (!w.lives(heir)) continue;
      if (w.place.stage == PlaceStage::arriving && w.place.node == node)
        step(w, {.kind = Kind::pass_on, .node = node, .heir = heir});
      if (w.kept != node) continue;
      World next = w;
      next.saved = true;
      visit(next);
      if (w.saved && w.place.moves < most_moves_)
        step(w, {.kind = Kind::give_up, .node = node, .heir = heir});
    }
    if (w.kept == node) {
      World next = w;
      next.kept = -1;
      visit(next);
    }
  }

  // Its thread looks at the top of its loop, saves, and then tries to commit; if it could not, it
  // runs the vCPU on, and what it saved is old. When its power fails nobody need be ready for it.
  void holder_acts(const World& w, u8 node) {
    World next = w;
    for (u8 heir = 0; heir < kNodes; ++heir) {
      if (heir == node || !w.lives(heir) || w.place.moves >= most_moves_) continue;
      World failing = w;
      failing.saved = true;
      visit(failing);
      if (w.saved) step(w, {.kind = Kind::give_up, .node = node, .heir = heir});
    }
    if (w.saved) {
      if (place_after(w.place, {Kind::hand_over, node})) return step(w, {Kind::hand_over, node});
      next.saved = false;
    } else if (w.place.stage == PlaceStage::ready) {
      next.saved = true;
    }
    visit(next);
  }

  const u32 most_moves_;
  std::map<std::tuple<u64, int, int, bool, u8>, bool> seen_;
  std::deque<World> waiting_;
  u32 arrived_ = 0;
};

TEST(VcpuPlace, InEveryOrderOfStepsAndDeathsThereIsOneVcpuOnOneNode) {
  Exploration all(3);
  all.run();
  EXPECT_GT(all.states(), 200u);
  EXPECT_EQ(all.most_arrived(), 3u) << "moves do come to their end";
}

TEST(VcpuPlace, AWordHoldsAllOfIt) {
  const VcpuPlace p{3, 15, PlaceStage::ready, MoveRefusal::reset, 0x1234'5678};
  EXPECT_EQ(VcpuPlace::unpack(p.packed()), p);
  EXPECT_EQ(VcpuPlace::unpack(0), VcpuPlace{});
}

TEST(VcpuPlace, AStepIsTakenOnceAndOnlyByWhomItIsFor) {
  std::atomic<u64> place{VcpuPlace{.node = 1}.packed()};
  EXPECT_FALSE(take_step(place, {Kind::ask, 1})) << "it is there";
  ASSERT_TRUE(take_step(place, {Kind::ask, 2}));
  EXPECT_FALSE(take_step(place, {Kind::ask, 0})) << "one at a time";
  EXPECT_FALSE(take_step(place, {Kind::prepared, 0}));
  EXPECT_FALSE(take_step(place, {Kind::hand_over, 1})) << "not before the target is ready";
  ASSERT_TRUE(take_step(place, {Kind::prepared, 2}));
  EXPECT_FALSE(take_step(place, {Kind::hand_over, 2}));
  const auto before = take_step(place, {Kind::hand_over, 1});
  ASSERT_TRUE(before);
  EXPECT_EQ(before->target, 2);
  EXPECT_FALSE(take_step(place, {.kind = Kind::call_off})) << "it has gone";
  EXPECT_FALSE(take_step(place, {Kind::arrived, 1}));
  ASSERT_TRUE(take_step(place, {Kind::arrived, 2}));
  EXPECT_EQ(VcpuPlace::unpack(place.load()), (VcpuPlace{.node = 2, .moves = 1}));
}

TEST(VcpuPlace, WhyAMoveWasCalledOffStaysUntilTheNextIsAskedFor) {
  std::atomic<u64> place{0};
  ASSERT_TRUE(take_step(place, {Kind::ask, 1}));
  ASSERT_TRUE(take_step(place, {.kind = Kind::call_off, .refusal = MoveRefusal::target_failed}));
  EXPECT_EQ(VcpuPlace::unpack(place.load()).refusal, MoveRefusal::target_failed);
  ASSERT_TRUE(take_step(place, {Kind::ask, 1}));
  EXPECT_EQ(VcpuPlace::unpack(place.load()).refusal, MoveRefusal::none);
}

}  // namespace
}  // namespace dvm::vmm
