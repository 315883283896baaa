#include "tools/bench/bench_stats.h"

#include <gtest/gtest.h>

namespace dvm::tools {
namespace {

TEST(BenchStats, PercentilesLieBetweenNeighbours) {
  EXPECT_DOUBLE_EQ(percentile({3, 1, 2}, 50), 2);
  EXPECT_DOUBLE_EQ(percentile({4, 1, 2, 3}, 50), 2.5);
  EXPECT_DOUBLE_EQ(percentile({1, 2, 3, 4, 5}, 0), 1);
  EXPECT_DOUBLE_EQ(percentile({1, 2, 3, 4, 5}, 100), 5);
  EXPECT_DOUBLE_EQ(percentile({1, 2, 3, 4, 5}, 5), 1.2);
  EXPECT_DOUBLE_EQ(percentile({7}, 95), 7);
}

TEST(BenchStats, ASummaryCountsAndOrders) {
  const auto summary = summarize({5, 1, 4, 2, 3});
  ASSERT_TRUE(summary.has_value());
  EXPECT_DOUBLE_EQ(summary->median, 3);
  EXPECT_DOUBLE_EQ(summary->p5, 1.2);
  EXPECT_DOUBLE_EQ(summary->p95, 4.8);
  EXPECT_EQ(summary->n, 5u);
  EXPECT_FALSE(summarize({}).has_value());
}

TEST(BenchStats, FailedRoundsAreLeftOut) {
  EXPECT_EQ(present({1.0, std::nullopt, 3.0}), (std::vector<double>{1, 3}));
  EXPECT_TRUE(present({std::nullopt}).empty());
}

TEST(BenchStats, ARatioComparesRoundByRound) {
  // The third round was slow for both: the ratio stays.
  EXPECT_DOUBLE_EQ(*paired_ratio({2.0, 2.0, 20.0}, {1.0, 1.0, 10.0}), 2);
  EXPECT_DOUBLE_EQ(*paired_ratio({2.0, std::nullopt, 3.0}, {1.0, 1.0, std::nullopt}), 2);
  EXPECT_DOUBLE_EQ(*paired_ratio({2.0, 9.0}, {1.0}), 2) << "rounds that only one of them has";
  EXPECT_FALSE(paired_ratio({std::nullopt, 1.0}, {1.0, std::nullopt}).has_value());
  EXPECT_FALSE(paired_ratio({1.0}, {0.0}).has_value());
  EXPECT_FALSE(paired_ratio({}, {}).has_value());
}

TEST(BenchStats, RatiosKeepTheirRounds) {
  EXPECT_EQ(ratios({2.0, std::nullopt, 6.0}, {1.0, 1.0, 2.0}), (Series{2.0, std::nullopt, 3.0}));
  EXPECT_EQ(ratios({2.0, 3.0}, {0.0}), (Series{std::nullopt}));
}

TEST(BenchStats, ASpreadIsARatioToTheMedian) {
  EXPECT_DOUBLE_EQ(spread_above({10.0, 10.0, 20.0}), 1.9);
  EXPECT_DOUBLE_EQ(spread_above({}), 1);
}

}  // namespace
}  // namespace dvm::tools
