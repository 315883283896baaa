// The words, the figures and the outputs of `dvm-bench boot`.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/bench/bar_chart.h"
#include "tools/bench/boot_options.h"
#include "tools/bench/boot_report.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

BootSamples samples_of(const std::string& name, u32 nodes, Series userspace) {
  BootSamples samples;
  samples.contender = {name, nodes, {}};
  samples.userspace_s = userspace;
  samples.end_s = userspace;
  samples.exits = Series(userspace.size(), 1000.0);
  return samples;
}

std::vector<BootSamples> all_samples() {
  return {
      samples_of("qemu-q35", 0, {4.0, 8.0, 4.0}), samples_of("qemu-microvm", 0, {2.0, 4.0, 2.0}),
      samples_of("dvm-1-node", 1, {1.8, 3.6, 2.2}), samples_of("dvm-2-nodes", 2, {2.7, 5.4, 3.3})};
}

std::string refusal(const std::vector<std::string>& words) {
  const auto options = parse_boot_options(words);
  return options.ok() ? "" : options.error().message;
}

TEST(BootOptions, DefaultsAndValues) {
  const auto plain = parse_boot_options({});
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->runs, 5u);
  EXPECT_EQ(plain->nodes, (std::vector<u32>{1, 2}));
  EXPECT_FALSE(plain->peer_qemu);
  const auto said = parse_boot_options({"--json", "--peer", "qemu", "--runs=7", "--cpus", "4",
                                        "--memory", "1G", "--nodes", "1,3", "--plot", "a.svg"});
  ASSERT_TRUE(said.ok()) << said.error().message;
  EXPECT_TRUE(said->json);
  EXPECT_TRUE(said->peer_qemu);
  EXPECT_EQ(said->runs, 7u);
  EXPECT_EQ(said->cpus, 4u);
  EXPECT_EQ(said->memory, kGiB);
  EXPECT_EQ(said->nodes, (std::vector<u32>{1, 3}));
  EXPECT_EQ(said->plot, "a.svg");
}

TEST(BootOptions, RefusesWhatItCannotMean) {
  EXPECT_NE(refusal({"--peer", "xen"}).find("allowed: qemu"), std::string::npos);
  for (const char* nodes : {"", "1,", ",1", "0", "1,1", "1;2", "999"}) {
    EXPECT_NE(refusal({"--nodes", nodes}), "") << nodes;
  }
  EXPECT_NE(refusal({"--runs", "0"}), "");
  EXPECT_NE(refusal({"--memory", "1"}), "");
  EXPECT_NE(refusal({"--colour"}), "");
  EXPECT_NE(refusal({"word"}), "");
  EXPECT_EQ(parse_boot_options({"word"}).error().kind, ErrorKind::usage);
}

TEST(BootFigures, GoalsAreHeldAgainstTheFasterQemuAndOneNode) {
  const auto figures = boot_figures(all_samples());
  ASSERT_EQ(figures.size(), 4u);
  EXPECT_EQ(figures[0].userspace.peer, "qemu-microvm");
  EXPECT_FALSE(figures[0].userspace.holds().has_value()) << "a peer has no goal";
  EXPECT_EQ(figures[1].userspace.peer, "") << "nothing is compared with itself";
  const BenchResult& one = figures[2].userspace;
  EXPECT_EQ(one.peer, "qemu-microvm");
  EXPECT_DOUBLE_EQ(*one.peer_median, 2);
  EXPECT_DOUBLE_EQ(*one.ratio, 0.9);
  EXPECT_EQ(one.holds(), true);
  const BenchResult& two = figures[3].userspace;
  EXPECT_EQ(two.peer, "dvm-1-node");
  EXPECT_DOUBLE_EQ(*two.ratio, 1.5);
  EXPECT_EQ(two.holds(), false);
  EXPECT_DOUBLE_EQ(*figures[3].to_qemu, 1.35);
}

TEST(BootFigures, WhatFailedIsSaid) {
  auto all = all_samples();
  for (int qemu = 0; qemu < 2; ++qemu) {
    all[static_cast<std::size_t>(qemu)].userspace_s = {std::nullopt};
    all[static_cast<std::size_t>(qemu)].failures = {"no user space"};
  }
  auto figures = boot_figures(all);
  EXPECT_FALSE(figures[2].userspace.holds().has_value()) << "no peer: it cannot be told";
  EXPECT_EQ(figures[3].userspace.holds(), false);
  const auto results = boot_results(figures);
  const auto failed = [](const BenchResult& r) { return r.name == "boot.failed.qemu-q35"; };
  const auto it = std::find_if(results.begin(), results.end(), failed);
  ASSERT_NE(it, results.end());
  EXPECT_DOUBLE_EQ(it->summary->median, 1);
  EXPECT_NE(boot_table(figures).find("unknown"), std::string::npos);

  all = all_samples();
  all[2].userspace_s = {std::nullopt};
  figures = boot_figures(all);
  EXPECT_EQ(figures[2].userspace.holds(), false) << "ours did not boot";
}

TEST(BootFigures, WithoutQemuOneNodeHasNoGoal) {
  const auto figures = boot_figures({samples_of("dvm-1-node", 1, {1.0})});
  EXPECT_FALSE(figures[0].userspace.goal.has_value());
  EXPECT_EQ(figures[0].userspace.peer, "");
}

TEST(BootFigures, TheJsonHasTheFormOfAllBenchmarks) {
  BenchReport report{"a machine", "lab", boot_results(boot_figures(all_samples()))};
  const json object = report_json(report);
  EXPECT_EQ(object.size(), 3u);
  EXPECT_EQ(object["where"], "lab");
  ASSERT_EQ(object["results"].size(), 12u);
  for (const auto& result : object["results"]) {
    EXPECT_EQ(result.size(), 11u);
    for (const char* key : {"name", "unit", "median", "p5", "p95", "n", "peer", "peer_median",
                            "ratio", "goal", "holds"}) {
      EXPECT_TRUE(result.contains(key)) << key;
    }
  }
  const json one = object["results"][6];
  EXPECT_EQ(one["name"], "boot.userspace.dvm-1-node");
  EXPECT_EQ(one["n"], 3);
  EXPECT_EQ(one["holds"], true);
  EXPECT_TRUE(object["results"][3]["peer"].is_null());
}

TEST(BootFigures, ReasonsAreAColumnEach) {
  auto all = all_samples();
  EXPECT_EQ(boot_reasons_table(boot_figures(all)), "");
  all[1].reasons = ExitCounts{{{"msr", 7}}, {{"io", 3}}};
  all[2].reasons = ExitCounts{{{"msr", 9}, {"hlt", 1}}, {}};
  const auto table = boot_reasons_table(boot_figures(all));
  EXPECT_LT(table.find("msr"), table.find("hlt"));
  EXPECT_NE(table.find("qemu-microvm"), std::string::npos);
  EXPECT_EQ(table.find("qemu-q35"), std::string::npos);
}

TEST(BarChart, IsWellFormedAndEscapes) {
  const auto svg = bar_chart({"a < b", "n & m", "s", {{"dvm-1", Summary{2, 1, 3, 5}}, {"x", {}}}});
  EXPECT_TRUE(svg.starts_with("<svg "));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  EXPECT_NE(svg.find("n &amp; m"), std::string::npos);
  EXPECT_NE(svg.find("2.00 s"), std::string::npos);
  EXPECT_NE(svg.find(">failed<"), std::string::npos);
}

}  // namespace
}  // namespace dvm::tools
