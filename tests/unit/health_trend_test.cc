#include <gtest/gtest.h>

#include "hyperkernel/locality/health_trend.h"

namespace dvm::locality {
namespace {

constexpr u64 kSecond = 1'000'000'000;

HealthTrend trend(HealthReading reading, std::initializer_list<u64> values,
                  u64 apart_ns = kSecond) {
  HealthTrend t;
  u64 at = kSecond;
  for (const u64 v : values) t.add(reading, {at += apart_ns, v});
  return t;
}

TEST(HealthTrend, NothingReadIsWell) { EXPECT_FALSE(HealthTrend().verdict()); }

TEST(HealthTrend, ALineThroughTheSamplesTellsWhen) {
  const auto left = time_to_limit_ns({{0, 50}, {kSecond, 60}, {2 * kSecond, 70}}, 90);
  ASSERT_TRUE(left);
  EXPECT_NEAR(*left, 2e9, 1e3);
  EXPECT_FALSE(time_to_limit_ns({{0, 70}, {kSecond, 60}}, 90));
  EXPECT_FALSE(time_to_limit_ns({{0, 70}, {kSecond, 70}}, 90));
  EXPECT_FALSE(time_to_limit_ns({{0, 70}}, 90));
}

TEST(HealthTrend, ANodeThatGetsHotterIsLeftBeforeItsLimit) {
  const auto verdict = trend(HealthReading::temperature, {70, 75, 80}).verdict();
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->reading, HealthReading::temperature);
  EXPECT_EQ(verdict->value, 80u);
  EXPECT_NEAR(static_cast<double>(verdict->left_ns), 3e9, 1e6);
}

TEST(HealthTrend, ANodeThatIsWarmOrCoolsDownStays) {
  EXPECT_FALSE(trend(HealthReading::temperature, {80, 80, 80, 80}).verdict());
  EXPECT_FALSE(trend(HealthReading::temperature, {90, 85, 80}).verdict());
  EXPECT_FALSE(trend(HealthReading::temperature, {70, 90, 72, 88, 70}).verdict());
}

TEST(HealthTrend, SlowlyIsNotYet) {
  EXPECT_FALSE(trend(HealthReading::temperature, {70, 71, 72}, 60 * kSecond).verdict());
}

TEST(HealthTrend, OneReadingOfATrendIsNone) {
  EXPECT_FALSE(trend(HealthReading::temperature, {99}).verdict());
  EXPECT_FALSE(trend(HealthReading::corrected_errors, {20'000, 20'001}).verdict());
  EXPECT_TRUE(trend(HealthReading::corrected_errors, {20'000, 20'001, 20'002}).verdict());
}

TEST(HealthTrend, AnUncorrectedErrorIsEnough) {
  const auto verdict = trend(HealthReading::uncorrected_errors, {1}).verdict();
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->left_ns, 0u);
  EXPECT_FALSE(trend(HealthReading::uncorrected_errors, {0}).verdict());
}

TEST(HealthTrend, TheSameReadingTwiceCountsOnce) {
  HealthTrend t;
  for (int i = 0; i < 5; ++i) t.add(HealthReading::temperature, {kSecond, 99});
  EXPECT_FALSE(t.verdict());
}

}  // namespace
}  // namespace dvm::locality
