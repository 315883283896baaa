// Watching a program's output, and reading the kernel's histograms.
#include <gtest/gtest.h>

#include "tools/bench/boot_bench.h"
#include "tools/bench/console_run.h"
#include "tools/bench/exit_profile.h"

namespace dvm::tools {
namespace {

ConsoleRun run_script(const std::string& script, double limit_s = 20) {
  auto run = run_on_console({.words = {"sh", "-c", script}, .marker = "MARK", .limit_s = limit_s});
  EXPECT_TRUE(run.ok());
  return run.ok() ? run.take() : ConsoleRun{};
}

TEST(MarkerWatch, SeesOneWholeLineInAnyParts) {
  MarkerWatch watch("MARK");
  EXPECT_FALSE(watch.feed("no MARK here\nMA"));
  EXPECT_FALSE(watch.feed("RK 5"));
  EXPECT_TRUE(watch.feed(".0\r\nmore"));
  EXPECT_FALSE(watch.feed("\nMARK 6\n")) << "once";
  EXPECT_EQ(watch.line(), "MARK 5.0 ");
  EXPECT_NE(watch.tail().find("MARK 6"), std::string::npos);
}

TEST(ConsoleRun, TakesTheTimesOfAGoodRun) {
  const auto run = run_script("echo MARK 1; sleep 0.1; echo end >&2");
  ASSERT_TRUE(run.marker_s.has_value());
  EXPECT_GE(run.end_s, *run.marker_s + 0.1);
  EXPECT_NE(run.tail.find("end"), std::string::npos);
  EXPECT_FALSE(boot_failure(run, 20).has_value());
}

TEST(ConsoleRun, CallsAtTheMarkerOnce) {
  int calls = 0;
  const auto run = run_on_console({.words = {"sh", "-c", "echo MARK; echo MARK"},
                                   .marker = "MARK",
                                   .limit_s = 20,
                                   .at_marker = [&] { ++calls; }});
  EXPECT_TRUE(run.ok());
  EXPECT_EQ(calls, 1);
}

TEST(ConsoleRun, EveryWayToFailIsNamed) {
  EXPECT_NE(boot_failure(run_script("echo MARK; echo why; exit 3"), 20)->find("why"),
            std::string::npos);
  EXPECT_NE(boot_failure(run_script("echo other"), 20)->find("without the line"),
            std::string::npos);
  const auto late = run_script("exec sleep 30", 0.2);
  EXPECT_TRUE(late.timed_out);
  EXPECT_LT(late.end_s, 20);
  EXPECT_NE(boot_failure(late, 0.2)->find("no user space"), std::string::npos);
  EXPECT_NE(boot_failure(run_script("echo MARK; exec sleep 30", 0.5), 0.5)->find("did not end"),
            std::string::npos);
  const auto absent = run_on_console({.words = {"/no/such/program"}, .marker = "MARK"});
  ASSERT_TRUE(absent.ok());
  EXPECT_NE(boot_failure(*absent, 60)->find("cannot run"), std::string::npos);
}

TEST(ConsoleRun, TheGuestsClockIsOnTheLine) {
  EXPECT_DOUBLE_EQ(*guest_seconds("DVM-USERSPACE 2.17"), 2.17);
  EXPECT_DOUBLE_EQ(*guest_seconds("DVM-USERSPACE 2.17 "), 2.17);
  for (const char* line : {"", "DVM-USERSPACE", "DVM-USERSPACE ", "DVM-USERSPACE x"}) {
    EXPECT_FALSE(guest_seconds(line).has_value()) << line;
  }
}

TEST(ExitProfile, ReadsTheKernelsHistograms) {
  const auto lines = parse_histogram(
      "# event histogram\n#\n# trigger info: hist:keys=isa,exit_reason [active]\n#\n\n"
      "{ isa:          2, exit_reason:        123 } hitcount:       1081\n"
      "{ isa:          2, exit_reason:         96 } hitcount:          7\n"
      "\nTotals:\n    Hits: 1088\n    Entries: 2\n    Dropped: 0\n");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].keys.at("isa"), 2u);
  EXPECT_EQ(lines[0].keys.at("exit_reason"), 123u);
  EXPECT_EQ(lines[0].hits, 1081u);
  EXPECT_EQ(lines[1].hits, 7u);
}

TEST(ExitProfile, SkipsWhatIsNoHistogram) {
  for (const char* text : {"", "\n", "}{", "{ } hitcount: 5", "{ a: } hitcount: 5", "{ a: 1 }",
                           "{ a: 1 } hitcount: x", "# { a: 1 } hitcount: 5"}) {
    EXPECT_TRUE(parse_histogram(text).empty()) << text;
  }
}

}  // namespace
}  // namespace dvm::tools
