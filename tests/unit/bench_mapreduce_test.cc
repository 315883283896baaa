// What series of MapReduce runs come to.
#include <gtest/gtest.h>

#include "tools/bench/mapreduce_bench.h"

namespace dvm::tools {
namespace {

MapReduceSeries series_of(const std::string& app) {
  return {.app = app,
          .workers = 16,
          .crashes = {0, 1, 8},
          .ms = {{100, 101, 102}, {100.5, 101.5, 101}, {105, 104, 106}},
          .processor_ms = {{200, 200, 200}, {201, 201, 201}, {204, 204, 204}},
          .begun_again = {0, 3, 24}};
}

const BenchResult& row(const std::vector<BenchResult>& all, const std::string& name) {
  for (const BenchResult& r : all) {
    if (r.name == name) return r;
  }
  ADD_FAILURE() << name;
  return all.front();
}

TEST(BenchMapReduce, LupinsFiguresAreThoseOfOneAndEightCrashes) {
  EXPECT_DOUBLE_EQ(*lupin_slowdown("dedup", 1), 0.034);
  EXPECT_DOUBLE_EQ(*lupin_slowdown("kmeans", 8), 0.025);
  EXPECT_DOUBLE_EQ(*lupin_slowdown("kmeans", 1), 0);
  EXPECT_FALSE(lupin_slowdown("kmeans", 2));
  EXPECT_FALSE(lupin_slowdown("sort", 1));
}

TEST(BenchMapReduce, RatiosAreOfTheSameRoundAndHeldAgainstLupins) {
  const auto all = mapreduce_results({series_of("wordcount"), series_of("black-scholes")});
  const BenchResult& eight = row(all, "mapreduce.wordcount.16-workers.8-crashes");
  EXPECT_NEAR(*eight.ratio, 106.0 / 102, 1e-9);
  EXPECT_DOUBLE_EQ(*eight.peer_median, 101);
  EXPECT_DOUBLE_EQ(*eight.goal, 1.029);
  EXPECT_EQ(eight.holds(), false);
  EXPECT_FALSE(row(all, "mapreduce.wordcount.16-workers.0-crashes").goal);
  const BenchResult& used = row(all, "mapreduce.wordcount.16-workers.8-crashes.processor-time");
  EXPECT_NEAR(*used.ratio, 1.02, 1e-9);
  EXPECT_FALSE(used.goal);
}

// 0.0 %: no slower than runs without crashes are now and then.
TEST(BenchMapReduce, ZeroPercentMeansWithinTheSpread) {
  const auto all = mapreduce_results({series_of("black-scholes")});
  const BenchResult& one = row(all, "mapreduce.black-scholes.16-workers.1-crashes");
  EXPECT_NEAR(*one.goal, 101.9 / 101, 1e-9);
  EXPECT_EQ(one.holds(), true);
  EXPECT_EQ(row(all, "mapreduce.black-scholes.16-workers.8-crashes").holds(), false);
}

TEST(BenchMapReduce, TheTableSaysItInPercent) {
  const std::string text = mapreduce_text({series_of("wordcount")});
  EXPECT_NE(text.find("+3.9 %"), std::string::npos) << text;
  EXPECT_NE(text.find("+2.9 %"), std::string::npos) << text;
  EXPECT_NE(text.find("MISSED"), std::string::npos) << text;
}

}  // namespace
}  // namespace dvm::tools
