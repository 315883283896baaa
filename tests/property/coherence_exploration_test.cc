#include <gtest/gtest.h>

#include "tests/property/coherence_world.h"
#include "tests/sanitized.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kAtMost = 20'000'000;

#ifdef DVM_WITH_TSAN
constexpr bool kShareWithTwoPages = false;  // a third of the states, at ten times the cost
#else
constexpr bool kShareWithTwoPages = true;
#endif

// Every interleaving of three nodes that read, write, evict, share, unshare and recover a page,
// rest and begin again, come back after death; any of them dies at any step.
TEST(CoherenceExploration, OnePageThreeNodesThatRestAndDieAnywhere) {
  const auto found = explore({.pages = 1, .deaths = 2, .quiet = true}, kAtMost);
  EXPECT_EQ(found.violation, "");
  EXPECT_GT(found.states, 500'000u);
}

TEST(CoherenceExploration, TwoPagesThreeNodesDeathAnywhere) {
  const auto found = explore({.pages = 2, .deaths = 1, .share = kShareWithTwoPages}, kAtMost);
  EXPECT_EQ(found.violation, "");
  EXPECT_GT(found.states, 1'000'000u);
}

TEST(CoherenceExploration, EveryMistakePutInIsFound) {
  for (const Mistake mistake :
       {Mistake::no_claim, Mistake::claim_first, Mistake::early_release, Mistake::no_write_back,
        Mistake::no_protect, Mistake::trust_quiet, Mistake::mark_after_look,
        Mistake::copies_beside_frame, Mistake::frame_before_content, Mistake::no_guard,
        Mistake::home_before_content, Mistake::drop_first, Mistake::no_drop,
        Mistake::strays_left}) {
    const auto found =
        explore({.pages = 1, .deaths = 1, .quiet = true, .mistake = mistake}, kAtMost);
    EXPECT_NE(found.violation, "") << static_cast<int>(mistake);
    EXPECT_NE(found.violation, "not explored to the end") << static_cast<int>(mistake);
  }
}

}  // namespace
}  // namespace dvm::hyperkernel
