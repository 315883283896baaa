#include "tools/bench/locality_report.h"

#include <algorithm>

#include "tools/bench/bar_chart.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

using bench::SimulatedRun;
using locality::PolicyKind;

std::vector<double> times(const LocalityRow& row, PolicyKind policy) {
  std::vector<double> values;
  for (const SimulatedRun& run : row.runs[static_cast<std::size_t>(policy)])
    values.push_back(run.vcpu_time_s);
  return values;
}

template <typename Value>
u64 median_of(const LocalityRow& row, PolicyKind policy, Value value) {
  std::vector<double> values;
  for (const SimulatedRun& run : row.runs[static_cast<std::size_t>(policy)])
    values.push_back(static_cast<double>(value(run)));
  return static_cast<u64>(percentile(values, 50));
}

constexpr std::array<PolicyKind, locality::kPolicies> kAll = {
    PolicyKind::fixed, PolicyKind::affinity, PolicyKind::learned};

}  // namespace

double LocalityRow::time_s(PolicyKind policy) const { return percentile(times(*this, policy), 50); }

double LocalityRow::ratio() const {
  return time_s(PolicyKind::learned) /
         std::min(time_s(PolicyKind::fixed), time_s(PolicyKind::affinity));
}

std::vector<BenchResult> locality_results(const std::vector<LocalityRow>& rows) {
  std::vector<BenchResult> results;
  double wins = 0;
  for (const LocalityRow& row : rows) {
    wins += row.ratio() < 1 ? 1 : 0;
    for (const PolicyKind policy : kAll) {
      BenchResult r{.name = fmt::format("locality.{}.{}", row.workload, policy_name(policy)),
                    .unit = "s",
                    .summary = summarize(times(row, policy))};
      if (policy == PolicyKind::learned) {
        r.peer = row.time_s(PolicyKind::fixed) <= row.time_s(PolicyKind::affinity) ? "static"
                                                                                   : "affinity";
        r.peer_median = r.summary->median / row.ratio();
        r.ratio = row.ratio();
        r.goal = kMostRatio;
      }
      results.push_back(std::move(r));
    }
  }
  if (rows.size() == bench::workload_names().size()) {
    BenchResult won{.name = "locality.won", .unit = "workloads", .summary = summarize({wins})};
    won.peer = "all";
    won.peer_median = 1;
    won.ratio = wins;
    won.goal = kLeastWins;
    won.more_is_better = true;
    results.push_back(std::move(won));
  }
  return results;
}

std::string locality_table(const std::vector<LocalityRow>& rows) {
  TextTable table({"workload", "policy", "vCPU time s", "ratio", "last done s", "hand-overs",
                   "shared", "vCPU moves", "most of one"});
  for (const LocalityRow& row : rows) {
    for (const PolicyKind policy : kAll) {
      table.add(
          {policy == PolicyKind::fixed ? row.workload : "", std::string(policy_name(policy)),
           fmt::format("{:.3f}", row.time_s(policy)),
           fmt::format("{:.2f}", row.time_s(policy) / row.time_s(PolicyKind::fixed)),
           fmt::format(
               "{:.3f}",
               percentile({row.runs[static_cast<std::size_t>(policy)].front().last_done_s}, 50)),
           fmt::to_string(
               median_of(row, policy, [](const auto& r) { return r.counts.from_elsewhere; })),
           fmt::to_string(median_of(row, policy, [](const auto& r) { return r.counts.shared; })),
           fmt::to_string(median_of(row, policy, [](const auto& r) { return r.vcpu_moves; })),
           fmt::to_string(
               median_of(row, policy, [](const auto& r) { return r.most_moves_of_one; }))});
    }
  }
  return table.text();
}

std::string locality_plot(const std::vector<LocalityRow>& rows, const std::string& note) {
  BarChart chart{
      .title = "Time of all vCPUs, beside static", .note = note, .unit = "x", .bars = {}};
  for (const LocalityRow& row : rows) {
    const double base = row.time_s(PolicyKind::fixed);
    for (const PolicyKind policy : kAll) {
      std::vector<double> values = times(row, policy);
      for (double& v : values) v /= base;
      // bar_chart.h colours what is ours by its name.
      const char* ours = policy == PolicyKind::learned ? "dvm " : "";
      chart.bars.push_back(
          {fmt::format("{}{}, {}", ours, row.workload, policy_name(policy)), summarize(values)});
    }
  }
  return bar_chart(chart);
}

}  // namespace dvm::tools
