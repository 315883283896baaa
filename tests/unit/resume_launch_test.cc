// A guest's options, kept in its pool and read again by who resumes it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tools/run_command_line.h"

namespace dvm::tools {
namespace {

using Words = std::vector<std::string>;

RunSettings launch(const Words& words) {
  auto line = parse_run_command_line(words);
  EXPECT_TRUE(line.ok()) << line.error().message;
  auto settings = settings_from(line.take(), "unnamed");
  EXPECT_TRUE(settings.ok()) << settings.error().message;
  return settings.take();
}

Result<RunSettings> resume(const std::string& launch, const Words& more) {
  Words words = {"--resume", "pool"};
  words.insert(words.end(), more.begin(), more.end());
  DVM_ASSIGN(RunCommandLine line, parse_run_command_line(words));
  return settings_from_launch(launch, std::move(line), "named");
}

TEST(ResumeLaunch, IsTheSameGuestFromAnotherFolder) {
  const RunSettings began = launch({"--kernel", "bzImage", "--disk", "/a.img", "--disk", "b.img",
                                    "--cpus", "3", "--nodes", "2", "--memory", "256M"});
  const auto again = resume(began.launch, {});
  ASSERT_TRUE(again.ok()) << again.error().message;
  const std::string here = std::filesystem::current_path();
  EXPECT_EQ(again->kernel, here + "/bzImage");
  ASSERT_EQ(again->disks.size(), 2u);
  EXPECT_EQ(again->disks[0].spec.path, "/a.img");
  EXPECT_EQ(again->disks[1].spec.path, here + "/b.img");
  EXPECT_EQ(again->cpus, 3u);
  EXPECT_EQ(again->placement, began.placement);
  EXPECT_EQ(again->memory, 256 * kMiB);
  EXPECT_EQ(again->name, "named");
  EXPECT_EQ(again->launch, began.launch);
}

TEST(ResumeLaunch, OneOfManyIsNotTheOther) {
  const RunSettings began =
      launch({"--kernel", "/k", "--name", "first", "--mac", "52:54:00:00:00:07", "--net",
              "user,hostfwd=tcp:127.0.0.1:2222-:22"});
  const auto as = [&](const Words& more, bool forked) {
    Words words = {"--resume", "file"};
    words.insert(words.end(), more.begin(), more.end());
    auto line = parse_run_command_line(words);
    EXPECT_TRUE(line.ok()) << line.error().message;
    auto settings = settings_from_checkpoint(began.launch, line.take(), "first", forked);
    EXPECT_TRUE(settings.ok()) << settings.error().message;
    return settings.take();
  };
  EXPECT_EQ(as({}, false).mac, began.mac) << "it goes on itself";
  EXPECT_EQ(as({}, false).net->forwards.size(), 1u);
  EXPECT_EQ(as({"--name", "second"}, true).mac, default_mac("second"));
  EXPECT_NE(default_mac("second"), default_mac("third"));
  EXPECT_TRUE(as({"--name", "second"}, true).net->forwards.empty()) << "the first has them";
  EXPECT_EQ(as({"--name", "second", "--mac", "52:54:00:00:00:09"}, true).mac[5], 9u);
}

TEST(ResumeLaunch, HasTheConfigurationAsItWas) {
  const auto file = std::filesystem::temp_directory_path() / "dvm-resume-launch.json";
  std::ofstream(file) << R"({"kernel": "/k", "cpus": 2, "append": "one"})";
  const RunSettings began = launch({"--config", file, "--append", "two"});
  std::ofstream(file) << R"({"kernel": "/k", "cpus": 7})";
  const auto again = resume(began.launch, {});
  std::filesystem::remove(file);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->cpus, 2u);
  EXPECT_EQ(again->append, "two");
}

TEST(ResumeLaunch, WhoLooksAtItMayBeSaidAnew) {
  const RunSettings began = launch({"--kernel", "/k", "--serial", "file:/a"});
  const auto again = resume(began.launch, {"--serial", "file:/b", "--name", "other", "--detach"});
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->serial.path, "/b");
  EXPECT_EQ(again->name, "other");
  EXPECT_TRUE(again->detach);
  const auto refused = resume(began.launch, {"--cpus", "4"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message.rfind("found --cpus with --resume; allowed: --detach", 0), 0u);
}

TEST(ResumeLaunch, WhatIsNoLaunchIsRefused) {
  for (const char* text : {"", "{", "[]", "{}", R"({"words":[1],"folder":"/"})",
                           R"({"words":["--cpus"],"folder":"/"})", R"({"words":[],"folder":7})",
                           R"({"words":[],"folder":"/","config":1})",
                           R"({"words":["--kernel","/k"],"folder":"/","config":"{}"})"}) {
    EXPECT_FALSE(resume(text, {}).ok()) << text;
  }
}

}  // namespace
}  // namespace dvm::tools
