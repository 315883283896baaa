// What the device benchmarks read off a guest's console, and what they make of it.
#include <gtest/gtest.h>

#include "tools/bench/bar_chart.h"
#include "tools/bench/device_options.h"
#include "tools/bench/device_report.h"

namespace dvm::tools {
namespace {

// KVM's counters as a test sets them.
struct Counters {
  std::optional<KvmCounts> now = KvmCounts{100, 10};
  DeviceLog::Sources sources() {
    return {.counts = [this] { return now; }, .clear = {}, .take = {}};
  }
};

TEST(DeviceLog, CountsBetweenBeginAndEnd) {
  Counters counters;
  DeviceLog log(counters.sources());
  log.feed("DVM-USERSPACE 3.2");
  log.feed("BENCH begin randread-4k-1 50\r");
  counters.now = KvmCounts{1100, 210};
  log.feed("noise BENCH end randread-4k-1 250\r");
  log.feed("BENCH result randread-4k-1 700.5 200");
  const DeviceJobRun& run = log.jobs().at("randread-4k-1");
  EXPECT_DOUBLE_EQ(run.rate.value(), 700.5);
  EXPECT_DOUBLE_EQ(run.per_operation(run.exits).value(), 5.0);
  EXPECT_DOUBLE_EQ(run.per_operation(run.injected).value(), 1.0);
  EXPECT_DOUBLE_EQ(run.per_operation(run.interrupts).value(), 1.0);
  EXPECT_TRUE(log.failure().empty());
}

TEST(DeviceLog, LeavesOutWhatCannotBeCounted) {
  Counters counters;
  counters.now.reset();
  DeviceLog log(counters.sources());
  log.feed("BENCH begin a 5");
  log.feed("BENCH end b 9");  // never began
  log.feed("BENCH end a 4");  // fewer than before
  log.feed("BENCH result a x 1");
  log.feed("BENCH result b 2 0");
  EXPECT_FALSE(log.jobs().contains("c"));
  EXPECT_FALSE(log.jobs().at("a").exits.has_value());
  EXPECT_FALSE(log.jobs().at("a").interrupts.has_value());
  EXPECT_FALSE(log.jobs().at("a").rate.has_value());
  EXPECT_FALSE(log.jobs().at("b").per_operation(5.0).has_value()) << "of no operations";
}

TEST(DeviceLog, ForgetsCountersThatStartedAnew) {
  Counters counters;
  DeviceLog log(counters.sources());
  log.feed("BENCH begin a 5");
  counters.now = KvmCounts{3, 1};
  log.feed("BENCH end a 6");
  EXPECT_FALSE(log.jobs().at("a").exits.has_value());
  EXPECT_DOUBLE_EQ(log.jobs().at("a").interrupts.value(), 1);
}

TEST(DeviceLog, ARunFailsByWhatItSaysOrLacks) {
  const std::vector<DeviceJob> jobs = {{"a", "IOPS"}};
  Counters counters;
  DeviceLog none(counters.sources());
  EXPECT_NE(device_failure({}, none, jobs, 9)->find("no result of a"), std::string::npos);
  DeviceLog failed(counters.sources());
  failed.feed("BENCH failed a no route");
  EXPECT_NE(device_failure({}, failed, jobs, 9)->find("no route"), std::string::npos);
  DeviceLog good(counters.sources());
  good.feed("BENCH result a 1 1");
  EXPECT_FALSE(device_failure({}, good, jobs, 9).has_value());
  ConsoleRun slow;
  slow.timed_out = true;
  EXPECT_TRUE(device_failure(slow, good, jobs, 9).has_value());
}

DeviceSamples samples(const std::string& name, const std::string& peer, std::optional<double> goal,
                      const Series& rates) {
  DeviceSamples s;
  s.contender = {name, peer, goal, {}};
  s.jobs["a"].rate = rates;
  return s;
}

TEST(DeviceReport, MoreIsBetter) {
  const std::vector<DeviceSamples> all = {samples("qemu", "", {}, {100.0, 200.0, std::nullopt}),
                                          samples("dvm-1-node", "qemu", 1.0, {110.0, 210.0, 50.0}),
                                          samples("dvm-2-nodes", "qemu", 0.9, {80.0, 160.0, 1.0})};
  const auto figures = job_figures("disk", {{"a", "IOPS"}}, all);
  ASSERT_EQ(figures.size(), 3u);
  EXPECT_FALSE(figures[0].rate.goal.has_value());
  EXPECT_EQ(figures[1].rate.name, "disk.a.dvm-1-node");
  EXPECT_TRUE(figures[1].rate.holds().value());
  EXPECT_NEAR(figures[1].rate.ratio.value(), 1.075, 1e-9);
  EXPECT_FALSE(figures[2].rate.holds().value()) << "0.8 of the peer";
  EXPECT_EQ(figures[2].ratio->n, 2u) << "rounds that both have";
  const std::string table = device_table(figures);
  EXPECT_NE(table.find("yes: >= 1.00"), std::string::npos) << table;
  EXPECT_NE(table.find("no: >= 0.90"), std::string::npos) << table;
}

TEST(DeviceReport, ReasonsAreForEachOperation) {
  auto all = std::vector{samples("dvm-1-node", "", {}, {1.0})};
  all[0].jobs["a"].reasons = ExitCounts{{{"npf", 200}, {"rare", 1}}, {{"mmio", 100}}};
  all[0].jobs["a"].reasons_operations = 100;
  const std::string table = device_reasons_table(job_figures("disk", {{"a", "IOPS"}}, all));
  EXPECT_NE(table.find("npf 2.00"), std::string::npos) << table;
  EXPECT_NE(table.find("mmio 1.00"), std::string::npos) << table;
  EXPECT_EQ(table.find("rare"), std::string::npos) << table;
}

TEST(DeviceOptions, RefusesWhatDoesNotBelong) {
  const auto refused = [](const std::string& benchmark, std::vector<std::string> words) {
    const auto o = parse_device_options(benchmark, words);
    return o.ok() ? std::string("accepted") : o.error().message;
  };
  EXPECT_NE(refused("disk", {}).find("--disk FILE is needed"), std::string::npos);
  EXPECT_NE(refused("disk", {"--disk", "a", "--net", "user"}).find("unknown option --net"),
            std::string::npos);
  EXPECT_NE(refused("net", {"--disk", "a"}).find("unknown option --disk"), std::string::npos);
  EXPECT_NE(refused("net", {"--net", "bridge"}).find("found 'bridge'"), std::string::npos);
  EXPECT_NE(refused("net", {"--jobs", "tcp-out,x"}).find("found 'x'"), std::string::npos);
  EXPECT_NE(refused("net", {"--port", "70000"}).find("--port"), std::string::npos);
  EXPECT_NE(refused("net", {"more"}).find("found 'more'"), std::string::npos);
}

TEST(DeviceOptions, ReadsLists) {
  const auto o = parse_device_options(
      "net", {"--net", "user,tap=tap7", "--jobs", "ping,tcp-in", "--nodes", "1", "--json"});
  ASSERT_TRUE(o.ok());
  EXPECT_EQ(o->net, (std::vector<std::string>{"user", "tap=tap7"}));
  ASSERT_EQ(o->jobs.size(), 2u);
  EXPECT_EQ(o->jobs[0].unit, "round trip/s");
  EXPECT_TRUE(o->json);
}

TEST(BarChart, MakesRoomForLongLabels) {
  const BarChart chart{"t", "n", "", {{"dvm-tap-2-nodes: randwrite-4k-16", Summary{1, 1, 1, 1}}}};
  EXPECT_NE(bar_chart(chart).find("x=\"236\""), std::string::npos) << bar_chart(chart);
}

}  // namespace
}  // namespace dvm::tools
