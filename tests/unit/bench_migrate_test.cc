// What dvm-bench migrate is told, and what it makes of what it measured.
#include <gtest/gtest.h>

#include "tools/bench/migrate_options.h"
#include "tools/bench/migrate_report.h"
#include "tools/bench/move_machinery.h"

namespace dvm::tools {
namespace {

using Words = std::vector<std::string>;

TEST(BenchMigrate, ReadsItsOptions) {
  const auto o = parse_migrate_options({"--peer", "qemu", "--moves", "7", "--json"});
  ASSERT_TRUE(o.ok());
  EXPECT_TRUE(o->peer_qemu && o->json && !o->machinery);
  EXPECT_EQ(o->moves, 7u);
  EXPECT_TRUE(parse_migrate_options({"--machinery"})->machinery);
  for (const Words& words :
       {Words{"--moves", "0"}, Words{"--moves", "100001"}, Words{"--peer", "xen"}, Words{"what"},
        Words{"--machinery", "--peer", "qemu"}, Words{"--memory", "3"}, Words{"--runs"}}) {
    const auto refused = parse_migrate_options(words);
    ASSERT_FALSE(refused.ok()) << words.front();
    EXPECT_EQ(refused.error().kind, ErrorKind::usage) << words.front();
  }
}

const BenchResult& find(const std::vector<BenchResult>& results, const std::string& name) {
  for (const auto& r : results) {
    if (r.name == name) return r;
  }
  ADD_FAILURE() << name;
  return results.front();
}

TEST(BenchMigrate, HoldsAPauseAgainstTheIoctlsOfTheSameMove) {
  MoveSamples moves;
  moves.pause_us = {100.0, 300.0, 180.0};
  moves.bare_get_us = {20.0, 50.0, 40.0};
  moves.bare_set_us = {30.0, 150.0, 60.0};
  auto results = move_results(moves, {});
  const BenchResult& pause = find(results, "migrate.pause");
  EXPECT_DOUBLE_EQ(pause.ratio.value(), 1.8) << "of 2, 1.5 and 1.8";
  EXPECT_TRUE(pause.holds().value());
  moves.pause_us = {101.0, 900.0, 300.0};
  results = move_results(moves, {std::nullopt, 50'000.0});
  EXPECT_FALSE(find(results, "migrate.pause").holds().value());
  const BenchResult& beside = find(results, "migrate.pause.beside-qemu");
  EXPECT_DOUBLE_EQ(beside.ratio.value(), 300.0 / 50'000);
  EXPECT_FALSE(beside.holds().has_value()) << "a figure without a goal";
}

TEST(BenchMigrate, NothingMeasuredHoldsNoLimit) {
  EXPECT_FALSE(limited_result("m", {std::nullopt}, 100).holds().value());
  EXPECT_TRUE(limited_result("m", {99.0}, 100).holds().value());
  EXPECT_FALSE(limited_result("m", {101.0}, 100).holds().value());
}

TEST(BenchMigrate, MovesBetweenTwoProcesses) {
  const auto results = measure_machinery(5);
  ASSERT_TRUE(results.ok()) << results.error().message;
  for (const auto& r : *results) {
    ASSERT_TRUE(r.summary.has_value()) << r.name;
    EXPECT_EQ(r.summary->n, 5u) << r.name;
    EXPECT_GE(r.summary->median, 0) << r.name;
  }
}

}  // namespace
}  // namespace dvm::tools
