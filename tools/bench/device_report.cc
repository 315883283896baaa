#include "tools/bench/device_report.h"

#include <algorithm>

#include "tools/bench/bar_chart.h"
#include "tools/size_text.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

const DeviceSeries* series_of(const std::vector<DeviceSamples>& all, const std::string& contender,
                              const std::string& job) {
  for (const auto& samples : all) {
    if (samples.contender.name != contender) continue;
    const auto found = samples.jobs.find(job);
    return found == samples.jobs.end() ? nullptr : &found->second;
  }
  return nullptr;
}

std::optional<Summary> ratios(const Series& of, const Series& over) {
  std::vector<double> values;
  for (std::size_t i = 0; i < std::min(of.size(), over.size()); ++i) {
    if (of[i] && over[i] && *over[i] > 0) values.push_back(*of[i] / *over[i]);
  }
  return summarize(values);
}

BenchResult compare(std::string name, std::string unit, const Series& ours, const Series* peers,
                    const std::string& peer) {
  BenchResult result;
  result.name = std::move(name);
  result.unit = std::move(unit);
  result.summary = summarize(present(ours));
  if (peers == nullptr) return result;
  result.peer = peer;
  if (const auto summary = summarize(present(*peers))) result.peer_median = summary->median;
  result.ratio = paired_ratio(ours, *peers);
  return result;
}

JobFigures figures_of(const std::string& benchmark, const DeviceJob& job,
                      const DeviceSamples& samples, const std::vector<DeviceSamples>& all) {
  static const DeviceSeries none;
  const DeviceContender& c = samples.contender;
  const DeviceSeries* const found = series_of(all, c.name, job.name);
  const DeviceSeries& ours = found != nullptr ? *found : none;
  const DeviceSeries* const peer = c.peer.empty() ? nullptr : series_of(all, c.peer, job.name);
  const auto result = [&](const std::string& what, const std::string& unit,
                          Series DeviceSeries::*series) {
    const std::string name = fmt::format("{}.{}.{}{}", benchmark, job.name, c.name, what);
    return compare(name, unit, ours.*series, peer != nullptr ? &(peer->*series) : nullptr, c.peer);
  };
  JobFigures f;
  f.job = job.name;
  f.contender = c.name;
  f.rate = result("", job.unit, &DeviceSeries::rate);
  f.rate.more_is_better = true;
  if (peer != nullptr) {
    f.rate.goal = c.goal;
    f.ratio = ratios(ours.rate, peer->rate);
  }
  f.exits = result(".exits", "exits/op", &DeviceSeries::exits);
  f.injected = result(".injected", "injections/op", &DeviceSeries::injected);
  f.interrupts = result(".interrupts", "interrupts/op", &DeviceSeries::interrupts);
  f.reasons = ours.reasons;
  f.reasons_operations = ours.reasons_operations;
  return f;
}

std::string number(const std::optional<Summary>& s, double Summary::*value, int digits) {
  return s ? fmt::format("{:.{}f}", (*s).*value, digits) : "-";
}

std::string goal_text(const BenchResult& rate) {
  if (!rate.goal) return "-";
  const auto holds = rate.holds();
  return fmt::format("{} >= {:.2f}", holds ? *holds ? "yes:" : "no:" : "unknown:", *rate.goal);
}

}  // namespace

std::vector<JobFigures> job_figures(const std::string& benchmark,
                                    const std::vector<DeviceJob>& jobs,
                                    const std::vector<DeviceSamples>& all) {
  std::vector<JobFigures> figures;
  for (const auto& job : jobs) {
    for (const auto& samples : all) figures.push_back(figures_of(benchmark, job, samples, all));
  }
  return figures;
}

std::vector<BenchResult> device_results(const std::vector<JobFigures>& figures) {
  std::vector<BenchResult> results;
  for (const auto& f : figures) {
    for (const BenchResult* r : {&f.rate, &f.exits, &f.injected, &f.interrupts}) {
      if (r == &f.rate || r->summary) results.push_back(*r);
    }
  }
  return results;
}

std::string device_table(const std::vector<JobFigures>& figures) {
  TextTable table({"job", "machine", "rate", "p5", "p95", "unit", "runs", "to QEMU", "p5", "p95",
                   "exits/op", "interrupts/op", "goal holds"});
  for (const auto& f : figures) {
    const auto& rate = f.rate.summary;
    const int digits = rate && rate->median < 100 ? 1 : 0;
    table.add({f.job, f.contender, number(rate, &Summary::median, digits),
               number(rate, &Summary::p5, digits), number(rate, &Summary::p95, digits), f.rate.unit,
               fmt::to_string(rate ? rate->n : 0), number(f.ratio, &Summary::median, 2),
               number(f.ratio, &Summary::p5, 2), number(f.ratio, &Summary::p95, 2),
               number(f.exits.summary, &Summary::median, 2),
               number(f.interrupts.summary, &Summary::median, 2), goal_text(f.rate)});
  }
  return table.text();
}

std::string device_reasons_table(const std::vector<JobFigures>& figures) {
  TextTable table({"job", "machine", "exits/op to KVM", "exits/op to user space"});
  bool any = false;
  for (const auto& f : figures) {
    if (!f.reasons || f.reasons_operations <= 0) continue;
    any = true;
    const auto text = [&](const std::map<std::string, u64>& counts) {
      std::vector<std::pair<u64, std::string>> order;
      for (const auto& [reason, hits] : counts) order.emplace_back(hits, reason);
      std::sort(order.rbegin(), order.rend());
      std::string all;
      for (const auto& [hits, reason] : order) {
        const double share = static_cast<double>(hits) / f.reasons_operations;
        if (share >= 0.02)
          all += fmt::format("{}{} {:.2f}", all.empty() ? "" : ", ", reason, share);
      }
      return all;
    };
    table.add({f.job, f.contender, text(f.reasons->kernel), text(f.reasons->user)});
  }
  return any ? table.text() : "";
}

std::string device_chart(const std::string& benchmark, const std::vector<JobFigures>& figures,
                         const DeviceOptions& options, const std::string& machine) {
  std::vector<Bar> bars;
  for (const auto& f : figures) {
    if (!f.rate.peer.empty()) bars.push_back({f.contender + ": " + f.job, f.ratio});
  }
  return bar_chart(
      {.title = fmt::format("Throughput of the {}, QEMU is 1: median and p5 to p95", benchmark),
       .note = fmt::format("{} vCPUs, {}; {}", options.cpus, format_size(options.memory), machine),
       .unit = "",
       .bars = std::move(bars)});
}

}  // namespace dvm::tools
