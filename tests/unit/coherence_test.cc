#include "hyperkernel/coherence.h"

#include <gtest/gtest.h>

#include <vector>

namespace dvm::hyperkernel {
namespace {

constexpr DirEntry kHome{.frame = 5, .mode = PageMode::replicated};
constexpr DirEntry owned_by(u32 node) {
  return {.frame = 5, .mode = PageMode::owned, .nodes = only(node)};
}

// Runs a transition against one entry; every act succeeds, and marks as `resting` says.
struct Trace {
  DirEntry entry;
  NodeSet resting = 0;
  std::vector<std::pair<ActKind, u32>> acts = {};

  bool run(Transition t) {
    for (Act act = t.next({}); act.kind != ActKind::done;) {
      Answer answer;
      if (act.kind == ActKind::look) answer.seen = entry;
      if (act.kind == ActKind::swap) {
        answer.ok = entry == act.expected;
        answer.seen = entry;
        if (answer.ok) entry = act.desired;
      } else if (act.kind != ActKind::look) {
        acts.emplace_back(act.kind, act.node);
      }
      if (act.kind == ActKind::mark) answer.ok = (resting & only(act.node)) != 0;
      if (act.kind == ActKind::take_frame) answer.frame = 99;
      act = t.next(answer);
    }
    return t.granted();
  }
};
using Acts = std::vector<std::pair<ActKind, u32>>;

TEST(Coherence, ReadingWhatAnotherOwnsLeavesItACopy) {
  Trace t{owned_by(2)};
  EXPECT_TRUE(t.run(Transition(Want::read, 0)));
  EXPECT_EQ(t.acts,
            (Acts{{ActKind::protect, 2}, {ActKind::write_back, 2}, {ActKind::install_read, 0}}));
  EXPECT_EQ(t.entry, (DirEntry{.frame = 5, .mode = PageMode::replicated, .nodes = 0b101}));
}

TEST(Coherence, WritingTakesThePageFromItsOwner) {
  Trace t{owned_by(2)};
  EXPECT_TRUE(t.run(Transition(Want::write, 0)));
  EXPECT_EQ(t.acts, (Acts{{ActKind::protect, 2},
                          {ActKind::write_back, 2},
                          {ActKind::discard, 2},
                          {ActKind::install_write, 0}}));
  EXPECT_EQ(t.entry, owned_by(0));
}

TEST(Coherence, WritingDiscardsCopiesButOnlyMarksThoseThatNobodyLooksAt) {
  Trace t{{.frame = 5, .mode = PageMode::replicated, .nodes = 0b1011}, only(3)};
  EXPECT_TRUE(t.run(Transition(Want::write, 0)));
  EXPECT_EQ(t.acts, (Acts{{ActKind::mark, 1},
                          {ActKind::discard, 1},
                          {ActKind::mark, 3},
                          {ActKind::install_write, 0}}));
  EXPECT_EQ(t.entry, owned_by(0));
}

TEST(Coherence, AnOwnerNeedsNobody) {
  Trace t{owned_by(1)};
  EXPECT_TRUE(t.run(Transition(Want::read, 1)));
  EXPECT_EQ(t.acts, (Acts{{ActKind::install_write, 0}}));
  EXPECT_EQ(t.entry, owned_by(1));
}

TEST(Coherence, EvictionBringsHomeWhatWasWritten) {
  Trace t{owned_by(1)};
  EXPECT_TRUE(t.run(Transition(Want::evict, 1)));
  EXPECT_EQ(t.acts, (Acts{{ActKind::protect, 1}, {ActKind::write_back, 1}, {ActKind::discard, 1}}));
  EXPECT_EQ(t.entry, kHome);
  EXPECT_TRUE(t.run(Transition(Want::evict, 1)));  // there is nothing left to do
  EXPECT_EQ(t.acts.size(), 3u);
}

TEST(Coherence, SharingMovesThePageToAFrameOfTheCoherentRegion) {
  Trace t{owned_by(1)};
  EXPECT_TRUE(t.run(Transition(Want::share, 0)));
  EXPECT_EQ(t.acts, (Acts{{ActKind::take_frame, 0},
                          {ActKind::protect, 1},
                          {ActKind::fill_frame, 1},
                          {ActKind::mark, 1},
                          {ActKind::discard, 1}}));
  EXPECT_EQ(t.entry, (DirEntry{.frame = 99, .mode = PageMode::shared}));
  EXPECT_TRUE(t.run(Transition(Want::write, 3)));
  EXPECT_EQ(t.acts.back().first, ActKind::map_shared);
}

TEST(Coherence, WhoComesAfterADeadSharerDiscardsTheCopiesFirst) {
  DirEntry left{.frame = 99, .mode = PageMode::shared, .nodes = only(1), .mover = 3};
  EXPECT_TRUE(left.sound());
  Transition t(Want::write, 0);
  EXPECT_EQ(t.next({}).kind, ActKind::look);
  EXPECT_EQ(t.next({.seen = left}).kind, ActKind::await);
  EXPECT_EQ(t.next({}).kind, ActKind::swap);
  EXPECT_EQ(t.next({}).kind, ActKind::drop_strays) << "frames that the entry does not name";
  EXPECT_EQ(t.next({}).kind, ActKind::mark);
  EXPECT_EQ(t.next({.ok = false}).kind, ActKind::discard);
  EXPECT_EQ(t.next({}).kind, ActKind::map_shared);
  EXPECT_EQ(t.next({}).desired, (DirEntry{.frame = 99, .mode = PageMode::shared}));
  left.mover = 0;
  EXPECT_FALSE(left.sound()) << "nobody lets go of it like that";
}

TEST(Coherence, WithoutAFrameThePageStaysAsItWas) {
  Transition t(Want::share, 0);
  EXPECT_EQ(t.next({}).kind, ActKind::look);
  EXPECT_EQ(t.next({.seen = owned_by(1)}).kind, ActKind::swap);
  EXPECT_EQ(t.next({}).kind, ActKind::take_frame);
  const Act back = t.next({.ok = false});
  EXPECT_EQ(back.kind, ActKind::swap);
  EXPECT_EQ(back.desired, owned_by(1));
  EXPECT_EQ(t.next({}).kind, ActKind::done);
  EXPECT_FALSE(t.granted());
}

TEST(Coherence, WaitsForALivingMoverAndTakesThePlaceOfADeadOne) {
  DirEntry held = owned_by(1);
  held.mover = 3;
  Transition t(Want::write, 0);
  EXPECT_EQ(t.next({}).kind, ActKind::look);
  const Act wait = t.next({.seen = held});
  EXPECT_EQ(wait.kind, ActKind::await);
  EXPECT_EQ(wait.node, 2u);
  EXPECT_EQ(t.next({.ok = false}).kind, ActKind::look);  // it moved on
  EXPECT_EQ(t.next({.seen = held}).kind, ActKind::await);
  const Act take = t.next({.ok = true});  // it is dead
  EXPECT_EQ(take.kind, ActKind::swap);
  EXPECT_EQ(take.expected, held);
  EXPECT_EQ(take.desired.mover, 1);
  EXPECT_EQ(t.next({.ok = false, .seen = kHome}).kind, ActKind::swap);  // another was first
}

TEST(Coherence, ADamagedEntryIsRefused) {
  Trace t{{.frame = 5, .mode = PageMode::owned, .nodes = 0b11}};
  EXPECT_FALSE(t.run(Transition(Want::read, 0)));
  EXPECT_TRUE(t.acts.empty());
}

}  // namespace
}  // namespace dvm::hyperkernel
