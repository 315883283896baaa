// What dvm-bench recovery --jobs is told, when it lets nodes die, and what it makes of the times.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tools/bench/job_plan.h"
#include "tools/bench/job_report.h"
#include "tools/bench/mapreduce_bench.h"
#include "tools/bench/recovery_options.h"

namespace dvm::tools {
namespace {

using Words = std::vector<std::string>;

TEST(BenchJobs, ReadsItsOptions) {
  const auto all = parse_recovery_options({"--jobs"});
  ASSERT_TRUE(all.ok());
  EXPECT_TRUE(all->jobs);
  EXPECT_EQ(all->rounds, 3u);
  EXPECT_EQ(all->memory, 256 * kMiB);
  for (const JobKind& job : kJobs) EXPECT_TRUE(all->wants_job(job.name)) << job.name;
  const auto two = parse_recovery_options(
      {"--jobs", "--job", "dedup", "--job", "matrix", "--rounds", "7", "--memory", "512M"});
  ASSERT_TRUE(two.ok());
  EXPECT_TRUE(two->wants_job("matrix"));
  EXPECT_FALSE(two->wants_job("kmeans"));
  EXPECT_TRUE(two->wants_protection("flush") && two->wants_protection("epoch"));
  const auto one = parse_recovery_options({"--jobs", "--protect", "epoch"});
  ASSERT_TRUE(one.ok());
  EXPECT_FALSE(one->wants_protection("flush"));
  EXPECT_EQ(two->rounds, 7u);
  EXPECT_EQ(two->memory, 512 * kMiB);
  EXPECT_EQ(parse_recovery_options({})->rounds, 5u) << "without --jobs";
}

TEST(BenchJobs, RefusesWhatMeansNothing) {
  for (const Words& words :
       {Words{"--jobs", "--job", "sort"}, Words{"--job", "dedup"}, Words{"--jobs", "--machinery"},
        Words{"--jobs", "--deaths", "3"}, Words{"--jobs", "--seconds", "3"},
        Words{"--jobs", "--job"}, Words{"--jobs", "--rounds", "0"}, Words{"--jobs", "dedup"},
        Words{"--protect", "flush"}, Words{"--jobs", "--protect", "none"}}) {
    const auto refused = parse_recovery_options(words);
    ASSERT_FALSE(refused.ok()) << words.back();
    EXPECT_EQ(refused.error().kind, ErrorKind::usage) << words.back();
    EXPECT_EQ(refused.error().message.find('\n'), std::string::npos) << words.back();
  }
}

TEST(BenchJobs, DeathsLieEvenlyInARun) {
  EXPECT_EQ(repeats_before(0, 1, 40), 20u);
  const std::vector<u32> wanted = {2, 7, 12, 17, 22, 27, 32, 37};
  for (u32 i = 0; i < 8; ++i) EXPECT_EQ(repeats_before(i, 8, 40), wanted[i]) << i;
  std::set<double> parts;
  for (u32 i = 0; i < 8; ++i) {
    EXPECT_GE(part_before(i), 0) << i;
    EXPECT_LT(part_before(i), 1) << i;
    parts.insert(part_before(i));
  }
  EXPECT_EQ(parts.size(), 8u) << "not always the same step of a job";
  for (const JobKind& job : kJobs) EXPECT_GE(job.repeats, 16u) << "too few for 8 deaths";
}

TEST(BenchJobs, ReadsWhatTheJobSays) {
  const auto begun = read_job_line("job_work: 0 of 40\r");
  ASSERT_TRUE(begun.has_value());
  EXPECT_EQ(begun->done, 0u);
  EXPECT_EQ(begun->of, 40u);
  EXPECT_FALSE(begun->ended);
  const auto ok = read_job_line("job_work: ok job=dedup units=5760 elapsed_ns=118924968\r\n");
  ASSERT_TRUE(ok.has_value());
  EXPECT_TRUE(ok->ended && ok->ok);
  EXPECT_EQ(ok->units, 5760u);
  EXPECT_EQ(ok->elapsed_ns, 118'924'968u);
  const auto wrong = read_job_line("job_work: FAIL repeat 2: byte 7 of the result is 1, not 0 ...");
  ASSERT_TRUE(wrong.has_value());
  EXPECT_TRUE(wrong->ended);
  EXPECT_FALSE(wrong->ok);
  EXPECT_EQ(wrong->text, "repeat 2: byte 7 of the result is 1, not 0 ...");
  for (const char* line : {"", "job_work: ", "job_work: failure: repeat 2: wrong", "job_work: 3 of",
                           "job_work: 41 of 40", "job_work: 1 of 4x", "other: 0 of 40",
                           "job_work: ok job=dedup", "job_work: ok job=dedup units=x elapsed_ns=1"})
    EXPECT_FALSE(read_job_line(line).has_value()) << line;
}

TEST(BenchJobs, TheScriptNamesTheJobAndTellsOfAProgramThatEnds) {
  const std::string script = job_script(kJobs[5]);
  EXPECT_TRUE(script.starts_with("job_work --job dedup --repeats ")) << script;
  EXPECT_NE(script.find(" --threads 4 "), std::string::npos) << script;
  const auto at = script.find("job_work: FAIL");
  ASSERT_NE(at, std::string::npos);
  EXPECT_TRUE(read_job_line(script.substr(at, script.find('"', at) - at))->ended);
}

JobSeries series_of(std::size_t job, std::array<Series, kJobRunKinds.size()> seconds) {
  JobSeries s{.job = &kJobs[job], .protection = &kJobProtections[0], .seconds = {}, .still_ms = {}};
  s.seconds = std::move(seconds);
  return s;
}

const BenchResult& find(const std::vector<BenchResult>& results, const std::string& name) {
  const auto found = std::ranges::find(results, name, &BenchResult::name);
  if (found != results.end()) return *found;
  ADD_FAILURE() << name;
  return results.front();
}

TEST(BenchJobs, RatiosAreOfARound) {
  // The second round was slow for all; the third has no run with 8 deaths.
  const auto results =
      job_results({series_of(3, {Series{10.0, 20.0, 10.0}, Series{11.0, 22.0, 11.0},
                                 Series{12.0, 24.0, std::nullopt}, Series{11.5, 23.0, 11.5}})});
  EXPECT_FALSE(find(results, "recovery.jobs.flush.histogram.0-deaths").ratio.has_value());
  EXPECT_DOUBLE_EQ(*find(results, "recovery.jobs.flush.histogram.1-death").ratio, 1.1);
  const BenchResult& eight = find(results, "recovery.jobs.flush.histogram.8-deaths");
  EXPECT_DOUBLE_EQ(*eight.ratio, 1.2);
  EXPECT_DOUBLE_EQ(*eight.goal, 1.078) << "Lupin's";
  EXPECT_FALSE(eight.holds().value());
  EXPECT_FALSE(find(results, "recovery.jobs.flush.histogram.control").goal.has_value());
}

TEST(BenchJobs, TheControlsCostIsTakenOffByDeaths) {
  const JobSeries s = series_of(
      3, {Series{10.0, 10.0}, Series{10.5, 10.5}, Series{12.0, 12.0}, Series{11.6, std::nullopt}});
  EXPECT_DOUBLE_EQ(*less_control(s, 1)[0], 10.3) << "an eighth of it";
  EXPECT_DOUBLE_EQ(*less_control(s, 2)[0], 10.4);
  EXPECT_FALSE(less_control(s, 2)[1].has_value()) << "a round without control";
  const auto results = job_results({s});
  const BenchResult& eight = find(results, "recovery.jobs.flush.histogram.8-deaths.less-control");
  EXPECT_DOUBLE_EQ(*eight.ratio, 1.04);
  EXPECT_TRUE(eight.holds().value());
}

TEST(BenchJobs, WhereLupinLostNothingTheSpreadIsTheGoal) {
  const auto results =
      job_results({series_of(4, {Series{10.0, 10.0, 12.0}, Series{10.5, 10.5, 12.5}, {}, {}})});
  const BenchResult& one = find(results, "recovery.jobs.flush.blackscholes.1-death");
  EXPECT_NEAR(*one.goal, 1.18, 1e-9);
  EXPECT_FALSE(find(results, "recovery.jobs.flush.blackscholes.8-deaths").holds().value())
      << "not measured";
}

TEST(BenchJobs, EveryJobHasAFigureOfLupins) {
  for (const JobKind& job : kJobs) {
    for (const u32 deaths : {1u, 8u}) EXPECT_TRUE(lupin_slowdown(job.lupin, deaths)) << job.name;
  }
}

TEST(BenchJobs, TheTableAndTheChartHaveEachRun) {
  JobSeries s = series_of(0, {Series{10.0}, Series{11.0}, Series{14.0}, Series{std::nullopt}});
  s.still_ms[2] = {123.0};
  const std::string text = job_text({s});
  EXPECT_NE(text.find("+40.0 (+40.0 to +40.0)"), std::string::npos) << text;
  EXPECT_NE(text.find("123"), std::string::npos) << text;
  EXPECT_NE(text.find("failed"), std::string::npos) << text;
  const std::string chart = job_chart({s}, "a machine");
  for (const char* name :
       {"flush.wordcount.1-death", "flush.wordcount.control", "1.40 x", "failed"})
    EXPECT_NE(chart.find(name), std::string::npos) << name;
}

}  // namespace
}  // namespace dvm::tools
