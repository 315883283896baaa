// Each application, done by one worker in this process, against plain sequential code.
#include <gtest/gtest.h>

#include "tools/mapreduce/apps/app_list.h"
#include "tools/mapreduce/apps/word_count.h"
#include "tools/mapreduce/worker.h"

namespace dvm::mapreduce {
namespace {

using Bytes = std::vector<std::byte>;

Bytes do_all(Job& job) {
  EXPECT_TRUE(job.reset().ok());
  const auto self = job.instances().join(1, 0);
  job.open();
  work(job, self, 1'000'000'000, [] {});
  return job.app().output(job.view());
}

std::string named(const ::testing::TestParamInfo<std::string>& app) {
  std::string name = app.param;
  std::erase(name, '-');
  return name;
}

class MapReduceAppTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    app_ = make_app(GetParam(), Scale::small);
    ASSERT_NE(app_, nullptr);
    EXPECT_EQ(app_->name(), GetParam());
  }
  std::unique_ptr<App> app_;
};

TEST_P(MapReduceAppTest, ComesToWhatSequentialCodeComesTo) {
  Bytes of_seed_1;
  for (const u64 seed : {1u, 2u, 3u}) {
    auto job = Job::make(*app_, seed);
    ASSERT_TRUE(job.ok()) << job.error().message;
    const Bytes output = do_all(**job);
    const auto right = app_->check((*job)->view().input(), output);
    EXPECT_TRUE(right.ok()) << right.error().message;
    EXPECT_EQ(do_all(**job), output) << "the same again";
    if (seed == 1) of_seed_1 = output;
    EXPECT_EQ(output == of_seed_1, seed == 1);
  }
}

TEST_P(MapReduceAppTest, AWrongOutputIsFound) {
  auto job = Job::make(*app_, 1);
  ASSERT_TRUE(job.ok());
  const Bytes output = do_all(**job);
  const auto input = (*job)->view().input();
  Bytes wrong = output;
  // The first byte of a floating-point number is below what the check can see: the last is not.
  wrong[7] ^= std::byte{0x40};
  EXPECT_FALSE(app_->check(input, wrong).ok());
  wrong = output;
  wrong.pop_back();
  EXPECT_FALSE(app_->check(input, wrong).ok());
  EXPECT_FALSE(app_->check(input, {}).ok());
}

// A task that was cut short anywhere, and begun again by another, counts once.
TEST_P(MapReduceAppTest, RubbishInAResultsPlaceDoesNotShow) {
  auto job = Job::make(*app_, 1);
  ASSERT_TRUE(job.ok());
  const Bytes output = do_all(**job);
  ASSERT_TRUE((*job)->reset().ok());
  for (u32 phase = 0; phase < (*job)->phases(); ++phase) {
    for (u32 task = 0; task < (*job)->view().tasks(phase); ++task) {
      const auto place = (*job)->view().place(phase, task);
      std::fill(place.begin(), place.end(), std::byte{0xee});
    }
  }
  auto& instances = (*job)->instances();
  const auto dead = instances.join(2, 0), self = instances.join(1, 0);
  for (int i = 0; i < 3; ++i) {
    const auto begun = (*job)->tasks(0).claim(dead, instances).task;
    ASSERT_TRUE(begun);
    app_->run(0, *begun, (*job)->view(), (*job)->view().place(0, *begun));
  }
  instances.retire(dead, fabric::InstanceState::dead);
  (*job)->open();
  work(**job, self, 1'000'000'000, [] {});
  EXPECT_EQ(app_->output((*job)->view()), output);
  EXPECT_EQ((*job)->record().begun_again.load(), 3u);
}

INSTANTIATE_TEST_SUITE_P(All, MapReduceAppTest, ::testing::ValuesIn(app_names()), named);

TEST(MapReduceApp, NoOtherNameIsKnown) { EXPECT_EQ(make_app("sort", Scale::small), nullptr); }

// An input that is larger than its pool's words can tell of is refused by name.
TEST(MapReduceJob, SizesOutOfRangeAreRefused) {
  const WordCount none({.bytes = 64, .splits = 2 * kMaxTasks, .partitions = 1});
  const auto job = Job::make(none, 1);
  ASSERT_FALSE(job.ok());
  EXPECT_EQ(job.error().message, "wordcount: phase map is out of range");
}

}  // namespace
}  // namespace dvm::mapreduce
