#include "migration/spread.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace dvm::migration {
namespace {

TEST(Spread, GoesToWhoHasFewestAndTheFirstOfEquals) {
  const std::vector<u32> placement = {0, 0, 0, 0, 1, 2, 2};
  const std::vector<u32> others = {1, 2};
  EXPECT_EQ(spread(placement, 0, others),
            (std::vector<PlannedMove>{{0, 1}, {1, 1}, {2, 2}, {3, 1}}));
}

TEST(Spread, NobodyMovesWhoIsElsewhere) {
  const std::vector<u32> placement = {1, 1};
  const std::vector<u32> others = {1, 3};
  EXPECT_TRUE(spread(placement, 0, others).empty());
}

TEST(Spread, IsEvenWithinOne) {
  for (u32 vcpus = 1; vcpus <= 64; ++vcpus) {
    const std::vector<u32> placement(vcpus, 5);
    const std::vector<u32> others = {0, 1, 2};
    std::array<u32, 3> count{};
    for (const auto& move : spread(placement, 5, others)) ++count[move.to];
    EXPECT_LE(std::ranges::max(count) - std::ranges::min(count), 1u) << vcpus;
    EXPECT_EQ(count[0] + count[1] + count[2], vcpus);
  }
}

}  // namespace
}  // namespace dvm::migration
