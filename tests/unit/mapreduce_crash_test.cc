// Real worker processes that are killed, at random and at named points: the output is exact.
#include <gtest/gtest.h>

#include <ctime>

#include "tools/mapreduce/apps/app_list.h"
#include "tools/mapreduce/launcher.h"

namespace dvm::mapreduce {
namespace {

using Bytes = std::vector<std::byte>;

// An application whose tasks take long enough to be killed in: each is done twice, with a sleep
// between.
class Slow : public App {
 public:
  explicit Slow(const App& app) : app_(app) {}
  std::string_view name() const override { return app_.name(); }
  u64 input_bytes() const override { return app_.input_bytes(); }
  u64 table_bytes() const override { return app_.table_bytes(); }
  std::vector<Phase> phases() const override { return app_.phases(); }
  void make_input(std::span<std::byte> input, u64 seed) const override {
    app_.make_input(input, seed);
  }
  u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const override {
    app_.run(phase, task, job, result);
    const timespec pause{0, 1'500'000};
    ::nanosleep(&pause, nullptr);
    return app_.run(phase, task, job, result);
  }
  Bytes output(const JobView& job) const override { return app_.output(job); }
  Status check(std::span<const std::byte> input, std::span<const std::byte> output) const override {
    return app_.check(input, output);
  }

 private:
  const App& app_;
};

std::string named(const ::testing::TestParamInfo<std::string>& app) {
  std::string name = app.param;
  std::erase(name, '-');
  return name;
}

class MapReduceCrashTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    app_ = make_app(GetParam(), Scale::small);
    auto job = Job::make(*app_, 1);
    ASSERT_TRUE(job.ok());
    job_ = job.take();
    const RunResult result = run({.workers = 3});
    EXPECT_EQ(result.restarts, 0u);
    expected_ = result.output;
    const auto right = app_->check(job_->view().input(), expected_);
    ASSERT_TRUE(right.ok()) << right.error().message;
  }
  RunResult run(const RunOptions& options) { return run(*job_, options); }
  static RunResult run(Job& job, const RunOptions& options) {
    auto result = run_job(job, options);
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() ? result.take() : RunResult{};
  }
  std::unique_ptr<App> app_;
  std::unique_ptr<Job> job_;
  Bytes expected_;
};

TEST_P(MapReduceCrashTest, WorkersKilledAtRandom) {
  const Slow slow(*app_);
  auto job = Job::make(slow, 1);
  ASSERT_TRUE(job.ok());
  u32 crashes = 0;
  for (const u64 seed : {1u, 2u, 3u}) {
    const RunResult result = run(**job, {.workers = 4, .crashes = 8, .seed = seed});
    EXPECT_EQ(result.output, expected_) << "seed " << seed;
    crashes += result.crashes;
  }
  EXPECT_GT(crashes, 0u);
}

TEST_P(MapReduceCrashTest, WorkersKilledAtEveryPointOfATask) {
  for (const char* point : {"mapreduce.claimed", "mapreduce.computed", "mapreduce.committed",
                            "mapreduce.seen_done", "mapreduce.advanced"}) {
    const RunResult result = run({.workers = 3, .points = {{point, 0}, {point, 1}}});
    EXPECT_EQ(result.output, expected_) << point;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MapReduceCrashTest, ::testing::ValuesIn(app_names()), named);

class MapReduceDeathTest : public MapReduceCrashTest {};
INSTANTIATE_TEST_SUITE_P(Some, MapReduceDeathTest, ::testing::Values("dedup"));

// All workers die at once, and only then is a successor there to go on.
TEST_P(MapReduceDeathTest, AllWorkersDie) {
  RunOptions options{.workers = 3};
  for (int i = 0; i < 3; ++i) options.points.push_back({"mapreduce.computed", 0});
  const RunResult result = run(options);
  EXPECT_EQ(result.output, expected_);
  EXPECT_GE(result.restarts, 2u);
}

// Dying in the steps that join and leave the fabric and its group: when joining at a point's first
// passing, when leaving at its second, with the group's lock held and others waiting for it.
TEST_P(MapReduceDeathTest, WorkersDieWhileTheyJoinAndLeave) {
  for (const char* point :
       {"peer.registered", "peer.joined", "group.written", "group.armed", "group.stated"}) {
    for (const u32 passing : {0u, 1u}) {
      const RunResult result =
          run({.workers = 3, .points = {{.name = point, .skip = passing, .instance = 1}}});
      EXPECT_EQ(result.output, expected_) << point;
    }
  }
  const RunResult result = run({.workers = 3, .points = {{.name = "peer.leaving"}}});
  EXPECT_EQ(result.output, expected_);
}

TEST_P(MapReduceDeathTest, AWorkerDiesBetweenTheTwoStepsOfTheChunkTable) {
  const RunResult result =
      run({.workers = 3, .points = {{"mapreduce.chunk_named", 0}, {"mapreduce.chunk_named", 20}}});
  EXPECT_EQ(result.output, expected_);
  EXPECT_GE(result.begun_again, 1u);
}

// The manager dies while it buries a worker: the one that stands by goes on.
TEST_P(MapReduceDeathTest, TheManagerDiesInTheMiddleOfABurial) {
  for (const char* point : {"manager.suspected", "manager.retired", "recovery.step",
                            "mapreduce.released", "recovery.stepped"}) {
    const RunResult result =
        run({.workers = 2,
             .points = {{"mapreduce.computed", 0}, {"mapreduce.computed", 1}, {point, 0}}});
    EXPECT_EQ(result.output, expected_) << point;
  }
}

TEST(MapReduceLauncher, OptionsOutOfRangeAreRefused) {
  const auto app = make_app("histogram", Scale::small);
  auto job = Job::make(*app, 1);
  ASSERT_TRUE(job.ok());
  EXPECT_FALSE(run_job(**job, {.workers = 0}).ok());
  EXPECT_FALSE(run_job(**job, {.workers = RunOptions::kMostWorkers + 1}).ok());
  EXPECT_FALSE(run_job(**job, {.workers = 1, .points = {{"", 0}}}).ok());
}

}  // namespace
}  // namespace dvm::mapreduce
