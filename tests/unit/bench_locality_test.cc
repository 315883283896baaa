#include <gtest/gtest.h>

#include "hyperkernel/locality/learned_policy.h"
#include "tools/bench/locality_options.h"
#include "tools/bench/locality_report.h"

namespace dvm::tools {
namespace {

using bench::SimulatedRun;
using locality::PolicyKind;

SimulatedRun run(const std::string& name, PolicyKind kind, const bench::WorkloadShape& shape,
                 const std::string& costs = "pod") {
  const auto workload = bench::make_workload(name, shape);
  const auto policy = locality::make_policy(kind);
  return simulate(*workload, {.costs = *locality::costs_named(costs), .slots = 0}, *policy);
}

LocalityRow row(const std::string& name, const bench::WorkloadShape& shape) {
  LocalityRow r{.workload = name, .runs = {}};
  for (u32 p = 0; p < locality::kPolicies; ++p)
    r.runs[p].push_back(run(name, static_cast<PolicyKind>(p), shape));
  return r;
}

TEST(LocalitySimulator, TheSameInputGivesTheSameResult) {
  for (const std::string& name : bench::workload_names()) {
    const bench::WorkloadShape shape{.nodes = 2, .vcpus = 4, .seed = 3, .length_percent = 10};
    const auto a = run(name, PolicyKind::learned, shape), b = run(name, PolicyKind::learned, shape);
    EXPECT_EQ(a.vcpu_time_s, b.vcpu_time_s) << name;
    EXPECT_EQ(a.counts.faults, b.counts.faults) << name;
    EXPECT_EQ(a.placement, b.placement) << name;
  }
}

TEST(LocalitySimulator, EveryAccessIsMadeOnceUnderEveryPolicy) {
  for (const std::string& name : bench::workload_names()) {
    const auto r = row(name, {.nodes = 4, .vcpus = 8, .seed = 1, .length_percent = 10});
    EXPECT_EQ(r.runs[0][0].counts.accesses, r.runs[1][0].counts.accesses) << name;
    EXPECT_EQ(r.runs[0][0].counts.accesses, r.runs[2][0].counts.accesses) << name;
    EXPECT_EQ(r.runs[0][0].vcpu_moves, 0u) << name;
  }
}

TEST(LocalitySimulator, LearnedIsBetterOnFourOfFiveAndHardlyEverWorse) {
  for (const u32 nodes : {2u, 4u}) {
    std::vector<LocalityRow> rows;
    for (const std::string& name : bench::workload_names())
      rows.push_back(row(name, {.nodes = nodes, .vcpus = 2 * nodes}));
    const auto results = locality_results(rows);
    for (const BenchResult& r : results) EXPECT_TRUE(r.holds().value_or(true)) << r.name;
    EXPECT_EQ(results.back().name, "locality.won");
    EXPECT_TRUE(results.back().holds().value());
  }
}

TEST(LocalitySimulator, AReplayDoesWhatWasSeen) {
  locality::Trace trace{.nodes = 2, .pages = 64, .lost = 0, .placement = {0, 1}, .seen = {}};
  for (u32 i = 0; i < 1'000; ++i) {
    const u8 node = static_cast<u8>(i % 2);
    trace.seen.push_back({.time_ns = i * 20'000ull,
                          .page = i / 2 % 64,
                          .took_ns = 11'000,
                          .vcpu = node,
                          .node = node,
                          .from = static_cast<u8>(1 - node),
                          .kind = locality::SeenKind::write});
  }
  const auto workload = bench::replay(trace);
  const auto policy = locality::make_policy(PolicyKind::fixed);
  const auto r = simulate(*workload, {.costs = {}, .region_pages = 0, .slots = 0}, *policy);
  EXPECT_EQ(r.counts.accesses, 1'000u);
  EXPECT_EQ(r.counts.faults, 1'000u);  // each comes from the other
  EXPECT_NEAR(r.last_done_s, 0.02, 0.01);
}

TEST(LocalityOptions, WhatIsWrongIsRefusedInOneLine) {
  EXPECT_TRUE(parse_locality({}).ok());
  EXPECT_EQ(parse_locality({"--nodes", "16", "--cpus", "1024"})->vcpus, 1'024u);
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"--nodes", "17"},
                                             {"--nodes", "1"},
                                             {"--cpus", "1025"},
                                             {"--nodes", "4", "--cpus", "2"},
                                             {"--workload", "sleep"},
                                             {"--costs", "cloud"},
                                             {"--trace", "f", "--nodes", "2"},
                                             {"--coherent-memory", "much"},
                                             {"word"}}) {
    const auto options = parse_locality(words);
    ASSERT_FALSE(options.ok()) << words.front();
    EXPECT_EQ(options.error().kind, ErrorKind::usage);
    EXPECT_EQ(options.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace dvm::tools
