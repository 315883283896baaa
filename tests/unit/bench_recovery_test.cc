// What dvm-bench recovery is told, and what it makes of what it measured.
#include <gtest/gtest.h>

#include "tools/bench/exit_machinery.h"
#include "tools/bench/guest_script.h"
#include "tools/bench/recovery_options.h"
#include "tools/bench/recovery_report.h"

namespace dvm::tools {
namespace {

using Words = std::vector<std::string>;

TEST(BenchRecovery, ReadsItsOptions) {
  const auto o = parse_recovery_options({"--deaths", "3", "--seconds", "2", "--plot", "a.svg"});
  ASSERT_TRUE(o.ok());
  EXPECT_EQ(o->deaths, 3u);
  EXPECT_EQ(o->seconds, 2u);
  EXPECT_EQ(o->plot, "a.svg");
  EXPECT_TRUE(parse_recovery_options({"--machinery", "--json"})->machinery);
  for (const Words& words : {Words{"--deaths", "0"}, Words{"--rounds", "1001"}, Words{"what"},
                             Words{"--machinery", "--plot", "a.svg"}, Words{"--seconds"}}) {
    const auto refused = parse_recovery_options(words);
    ASSERT_FALSE(refused.ok()) << words.front();
    EXPECT_EQ(refused.error().kind, ErrorKind::usage) << words.front();
  }
}

// RFC 4648, section 10.
TEST(BenchRecovery, WritesScriptsAsBase64) {
  EXPECT_EQ(base64_of(""), "");
  EXPECT_EQ(base64_of("f"), "Zg==");
  EXPECT_EQ(base64_of("fo"), "Zm8=");
  EXPECT_EQ(base64_of("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64_of("\xff\xfe?"), "//4/");
}

double sum_of_parts(const DeathSamples& samples) {
  double sum = 0;
  for (const Series& part : samples.parts_us) sum += part.back().value();
  return sum;
}

TEST(BenchRecovery, ThePartsOfADeathAreItsPause) {
  DeathSamples s;
  add_death({.end = 1'000'000,
             .noticed = 3'000'000,
             .fenced = 3'500'000,
             .committed = 3'600'000,
             .loaded = 4'000'000,
             .entered = 4'250'000},
            s);
  EXPECT_DOUBLE_EQ(s.pause_us.back().value(), 3250);
  EXPECT_DOUBLE_EQ(s.parts_us[0].back().value(), 2000);
  EXPECT_DOUBLE_EQ(s.parts_us[1].back().value(), 500);
  EXPECT_DOUBLE_EQ(sum_of_parts(s), 3250);
}

TEST(BenchRecovery, WhoNoticesAfterTheFenceOrNeverDelaysNothing) {
  for (const u64 noticed :
       {u64{0}, u64{700}, u64{9'000'000}}) {  // never; of an earlier death; late
    DeathSamples s;
    add_death({1'000'000, noticed, 1'500'000, 1'600'000, 1'700'000, 1'800'000}, s);
    EXPECT_DOUBLE_EQ(s.parts_us[0].back().value(), 500) << noticed;
    EXPECT_DOUBLE_EQ(s.parts_us[1].back().value(), 0) << noticed;
    EXPECT_DOUBLE_EQ(sum_of_parts(s), 800) << noticed;
  }
}

TEST(BenchRecovery, ReadsWhatTheGuestDid) {
  const auto rates = read_steady_lines(
      "DVM-USERSPACE 3\nsteady_work: compute 200.50 per second\r\nsteady_work: ok work=compute\n"
      "steady_work: rewrite 0 per second\nother: wake 4 per second\n");
  ASSERT_EQ(rates.size(), 1u);
  EXPECT_DOUBLE_EQ(rates.at("compute"), 200.5);
}

const BenchResult& find(const std::vector<BenchResult>& results, const std::string& name) {
  for (const auto& r : results) {
    if (r.name == name) return r;
  }
  ADD_FAILURE() << name;
  return results.front();
}

TEST(BenchRecovery, HoldsEachLevelAgainstNoneOfTheSameRound) {
  std::array<SteadySamples, kLevels.size()> samples;
  samples[0].us_a_unit[1] = {10.0, 100.0, 10.0};
  samples[1].us_a_unit[1] = {11.0, 110.0, std::nullopt};
  const auto results = steady_results(samples);
  EXPECT_FALSE(find(results, "recovery.work.rewrite.none").ratio.has_value());
  EXPECT_DOUBLE_EQ(find(results, "recovery.work.rewrite.flush").ratio.value(), 1.1);
  EXPECT_FALSE(find(results, "recovery.work.wake.flush").summary.has_value()) << "not measured";
}

TEST(BenchRecovery, APowerFailureHasALimit) {
  DeathFigures figures;
  figures[static_cast<u32>(DeathKind::power_fail)].pause_us = {90'000.0};
  EXPECT_TRUE(
      find(death_results(kLevels[1], figures), "recovery.flush.power-fail.pause").holds().value());
  figures[static_cast<u32>(DeathKind::power_fail)].pause_us = {110'000.0};
  EXPECT_FALSE(
      find(death_results(kLevels[1], figures), "recovery.flush.power-fail.pause").holds().value());
  figures[static_cast<u32>(DeathKind::power_fail)].pause_us = {};
  EXPECT_FALSE(
      find(death_results(kLevels[1], figures), "recovery.flush.power-fail.pause").holds().value());
}

TEST(BenchRecovery, EachLevelTellsTheDeathsItSurvives) {
  DeathFigures figures;
  figures[static_cast<u32>(DeathKind::host)].pause_us = {200'000.0};
  const auto results = death_results(kLevels[2], figures);
  EXPECT_TRUE(find(results, "recovery.epoch.host.pause").holds().value());
  EXPECT_EQ(results.size(), 1 + kDeathParts.size());
  EXPECT_TRUE(death_results(kLevels[0], figures).empty());
}

TEST(BenchRecovery, ExitsAreHandledWithAndWithoutAJournal) {
  const auto results = measure_exits(1);
  ASSERT_TRUE(results.ok());
  for (const char* name : {"recovery.exit.eoi.none", "recovery.exit.port.flush"})
    EXPECT_GT(find(*results, name).summary.value().median, 0) << name;
}

}  // namespace
}  // namespace dvm::tools
