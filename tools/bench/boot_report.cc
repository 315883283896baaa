#include "tools/bench/boot_report.h"

#include <algorithm>

#include "tools/bench/bar_chart.h"
#include "tools/size_text.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

constexpr double kOneNodeGoal = 1.0, kTwoNodesGoal = 1.15, kSoftwareGoal = 1.3;

std::optional<double> median_of(const Series& series) {
  const auto summary = summarize(present(series));
  if (!summary) return std::nullopt;
  return summary->median;
}

const BootSamples* faster_qemu(const std::vector<BootSamples>& all) {
  const BootSamples* best = nullptr;
  for (const auto& samples : all) {
    const auto median = median_of(samples.userspace_s);
    if (samples.contender.nodes != 0 || !median) continue;
    if (best == nullptr || *median < *median_of(best->userspace_s)) best = &samples;
  }
  return best;
}

const BootSamples* with_nodes(const std::vector<BootSamples>& all, u32 nodes) {
  for (const auto& samples : all) {
    if (samples.contender.nodes == nodes && !samples.contender.software) return &samples;
  }
  return nullptr;
}

BenchResult compare(const char* what, const char* unit, const BootSamples& samples,
                    const BootSamples* peer, Series BootSamples::*series) {
  BenchResult result;
  result.name = fmt::format("boot.{}.{}", what, samples.contender.name);
  result.unit = unit;
  result.summary = summarize(present(samples.*series));
  if (peer == nullptr || peer == &samples) return result;
  result.peer = peer->contender.name;
  result.peer_median = median_of(peer->*series);
  result.ratio = paired_ratio(samples.*series, peer->*series);
  return result;
}

// Software coherence is held against the same guest over as many nodes without.
std::optional<double> goal_of(const Contender& c, const std::vector<BootSamples>& all) {
  const u32 nodes = c.nodes;
  if (c.software) return nodes == 2 ? std::optional(kSoftwareGoal) : std::nullopt;
  if (nodes == 1 && all.front().contender.nodes == 0) return kOneNodeGoal;
  if (nodes == 2 && with_nodes(all, 1) != nullptr) return kTwoNodesGoal;
  return std::nullopt;
}

std::string seconds(const std::optional<Summary>& summary, double Summary::*value) {
  return summary ? fmt::format("{:.2f}", (*summary).*value) : "-";
}

std::string ratio_text(const std::optional<double>& ratio) {
  return ratio ? fmt::format("{:.2f}", *ratio) : "-";
}

std::string count_text(const std::optional<Summary>& summary) {
  return summary ? fmt::format("{:.0f}", summary->median) : "-";
}

std::string goal_text(const BenchResult& result) {
  if (!result.goal) return "-";
  const auto holds = result.holds();
  return fmt::format("{} <= {:.2f} x {}: {}",
                     holds ? *holds ? "yes:" : "no:" : "unknown:", *result.goal,
                     result.peer.empty() ? "QEMU" : result.peer, ratio_text(result.ratio));
}

using Counts = std::map<std::string, u64> ExitCounts::*;

void add_reasons(const std::vector<BootFigures>& counted, const char* kind, Counts which,
                 TextTable& table) {
  std::map<std::string, u64> totals;
  for (const auto& figures : counted) {
    for (const auto& [reason, hits] : (*figures.reasons).*which) totals[reason] += hits;
  }
  std::vector<std::pair<u64, std::string>> order;
  for (const auto& [reason, hits] : totals) order.emplace_back(hits, reason);
  std::sort(order.rbegin(), order.rend());
  for (const auto& entry : order) {
    std::vector<std::string> row = {kind, entry.second};
    for (const auto& figures : counted) {
      const auto& counts = (*figures.reasons).*which;
      const auto it = counts.find(entry.second);
      row.push_back(fmt::to_string(it == counts.end() ? 0 : it->second));
    }
    table.add(std::move(row));
  }
}

void add_reason_results(const BootFigures& figures, const char* kind, Counts which,
                        std::vector<BenchResult>& results) {
  for (const auto& [reason, hits] : (*figures.reasons).*which) {
    BenchResult result;
    result.name = fmt::format("boot.exits.{}.{}.{}", figures.name, kind, reason);
    result.unit = "exits";
    result.summary = summarize({static_cast<double>(hits)});
    results.push_back(std::move(result));
  }
}

}  // namespace

std::vector<BootFigures> boot_figures(const std::vector<BootSamples>& all) {
  std::vector<BootFigures> figures;
  const BootSamples* const qemu = faster_qemu(all);
  for (const auto& samples : all) {
    const u32 nodes = samples.contender.nodes;
    const BootSamples* const one = with_nodes(all, 1);
    const BootSamples* peer = nodes > 1 && one != nullptr ? one : qemu;
    if (samples.contender.software) peer = with_nodes(all, nodes);
    BootFigures f;
    f.name = samples.contender.name;
    f.userspace = compare("userspace", "s", samples, peer, &BootSamples::userspace_s);
    f.userspace.goal = goal_of(samples.contender, all);
    f.end = compare("end", "s", samples, peer, &BootSamples::end_s);
    f.guest = compare("guest-clock", "s", samples, peer, &BootSamples::guest_s);
    f.exits = compare("exits", "exits", samples, peer, &BootSamples::exits);
    f.hand_overs = compare("hand-overs", "pages", samples, nullptr, &BootSamples::hand_overs);
    f.faults = compare("faults", "faults", samples, nullptr, &BootSamples::faults);
    f.failed = samples.failures.size();
    if (qemu != nullptr) f.to_qemu = paired_ratio(samples.userspace_s, qemu->userspace_s);
    f.reasons = samples.reasons;
    figures.push_back(std::move(f));
  }
  return figures;
}

std::vector<BenchResult> boot_results(const std::vector<BootFigures>& all) {
  std::vector<BenchResult> results;
  for (const auto& figures : all) {
    results.push_back(figures.userspace);
    results.push_back(figures.end);
    if (figures.guest.summary) results.push_back(figures.guest);
    if (figures.exits.summary) results.push_back(figures.exits);
    if (figures.hand_overs.summary) results.push_back(figures.hand_overs);
    if (figures.faults.summary) results.push_back(figures.faults);
    if (figures.failed > 0) {
      BenchResult failed;
      failed.name = "boot.failed." + figures.name;
      failed.unit = "runs";
      failed.summary = summarize({static_cast<double>(figures.failed)});
      results.push_back(std::move(failed));
    }
    if (!figures.reasons) continue;
    add_reason_results(figures, "kernel", &ExitCounts::kernel, results);
    add_reason_results(figures, "user", &ExitCounts::user, results);
  }
  return results;
}

std::string boot_table(const std::vector<BootFigures>& all) {
  TextTable table({"machine", "user space s", "p5", "p95", "end s", "guest clock s", "exits",
                   "hand-overs", "faults", "runs", "failed", "to QEMU", "goal holds"});
  for (const auto& f : all) {
    const auto& exits = f.exits.summary;
    table.add({f.name, seconds(f.userspace.summary, &Summary::median),
               seconds(f.userspace.summary, &Summary::p5),
               seconds(f.userspace.summary, &Summary::p95),
               seconds(f.end.summary, &Summary::median), seconds(f.guest.summary, &Summary::median),
               count_text(exits), count_text(f.hand_overs.summary), count_text(f.faults.summary),
               fmt::to_string(f.userspace.summary ? f.userspace.summary->n : 0),
               fmt::to_string(f.failed), ratio_text(f.to_qemu), goal_text(f.userspace)});
  }
  return table.text();
}

std::string boot_reasons_table(const std::vector<BootFigures>& all) {
  std::vector<BootFigures> counted;
  std::vector<std::string> header = {"exit to", "reason"};
  for (const auto& figures : all) {
    if (!figures.reasons) continue;
    counted.push_back(figures);
    header.push_back(figures.name);
  }
  if (counted.empty()) return {};
  TextTable table(std::move(header));
  add_reasons(counted, "KVM", &ExitCounts::kernel, table);
  add_reasons(counted, "user space", &ExitCounts::user, table);
  return table.text();
}

std::string boot_chart(const std::vector<BootFigures>& all, const BootOptions& options,
                       const std::string& machine) {
  std::vector<Bar> bars;
  for (const auto& figures : all) bars.push_back({figures.name, figures.userspace.summary});
  return bar_chart(
      {.title = "Boot to user space: seconds, median and p5 to p95",
       .note = fmt::format("{} vCPUs, {}; {}", options.cpus, format_size(options.memory), machine),
       .unit = "s",
       .bars = std::move(bars)});
}

}  // namespace dvm::tools
