#include "tools/bench/reboot_report.h"

#include <fmt/format.h>

#include "tools/bench/bar_chart.h"
#include "tools/bench/reboot_figures.h"
#include "tools/bench/rebooter.h"
#include "tools/size_text.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

constexpr double kReadsGoal = 0.05, kTimeGoal = 1.0;
const WhichBoot& kCold = kBoots[0];
const WhichBoot& kAgain = kBoots[1];

BenchResult result(const std::string& what, const RebootSeries& series, const char* unit,
                   const Series& values) {
  return {.name = fmt::format("reboot.{}.{}", what, label_of(series)),
          .unit = unit,
          .summary = summarize(present(values))};
}

void beside(BenchResult& r, const std::string& peer, const Series& ours, const Series& peers) {
  r.peer = peer;
  if (const auto summary = summarize(present(peers))) r.peer_median = summary->median;
  r.ratio = paired_ratio(ours, peers);
}

// The time until all runs again, beside QEMU's.
BenchResult whole_result(const RebootSeries& series, const std::vector<RebootSeries>& all,
                         const WhichBoot& boot) {
  const Series ours = whole_series(series, boot, seconds_of);
  BenchResult r = result(fmt::format("{}.whole", boot.name), series, "s", ours);
  const RebootSeries* const peer = peer_of(series, all);
  if (peer == nullptr) return r;
  beside(r, peer->rebooter, ours, whole_series(*peer, boot, seconds_of));
  if (series.rebooter == kSrtRebooter && boot.trace == &RebootTrace::again) r.goal = kTimeGoal;
  return r;
}

// Reads of the reboot, beside those of the cold boot before it.
BenchResult reads_result(const RebootSeries& series) {
  const Series ours = whole_series(series, kAgain, requests_of);
  BenchResult r = result("again.reads", series, "requests", ours);
  beside(r, "cold boot", ours, whole_series(series, kCold, requests_of));
  if (series.rebooter == kSrtRebooter) r.goal = kReadsGoal;
  return r;
}

void add_boot(const RebootSeries& series, const std::vector<RebootSeries>& all,
              const WhichBoot& boot, std::vector<BenchResult>& results) {
  results.push_back(whole_result(series, all, boot));
  const auto add = [&](const std::string& what, const char* unit, const Series& values) {
    results.push_back(result(fmt::format("{}.{}", boot.name, what), series, unit, values));
  };
  add("service", "s", service_series(series, boot));
  if (boot.trace == &RebootTrace::cold) {
    add("reads", "requests", whole_series(series, boot, requests_of));
  } else {
    results.push_back(reads_result(series));
  }
  add("read", "MiB", whole_series(series, boot, mebibytes_of));
  add("read-wait", "ms", whole_series(series, boot, wait_of));
  add("memory", "MiB", memory_series(series, boot, &HostMemory::used));
  add("page-cache", "MiB", memory_series(series, boot, &HostMemory::page_cache));
  for (std::size_t i = 0; i < kBootPhases; ++i) {
    const auto phase = static_cast<BootPhase>(i);
    const std::string name = phase_name(phase);
    const Series seconds = phase_series(series, boot, phase, seconds_of);
    if (present(seconds).empty()) continue;
    add("phase." + name, "s", seconds);
    add("phase-reads." + name, "requests", phase_series(series, boot, phase, requests_of));
    add("phase-read." + name, "MiB", phase_series(series, boot, phase, mebibytes_of));
  }
}

void add_counters(const RebootSeries& series, std::vector<BenchResult>& results) {
  std::map<std::string, Series> counters;
  for (const auto& round : series.rounds) {
    if (!round) continue;
    for (const auto& [name, value] : round->counters) counters[name].push_back(value);
  }
  for (const auto& [name, values] : counters)
    results.push_back(result("srt." + name, series, "", values));
}

std::string median_text(const Series& series, int digits) {
  const auto summary = summarize(present(series));
  return summary ? fmt::format("{:.{}f}", summary->median, digits) : "-";
}

// A column for each phase, after those that say what the row is of.
TextTable phase_table(const std::vector<std::string>& last) {
  std::vector<std::string> header = {"machine", "disk", "memory", "boot"};
  for (std::size_t i = 0; i < kBootPhases; ++i)
    header.emplace_back(phase_name(static_cast<BootPhase>(i)));
  header.insert(header.end(), last.begin(), last.end());
  return TextTable(std::move(header));
}

std::vector<std::string> row_of(const RebootSeries& series, const WhichBoot& boot) {
  return {series.rebooter, series.device.name, format_size(series.memory), boot.name};
}

std::string times_table(const std::vector<RebootSeries>& all) {
  TextTable table = phase_table({"whole", "sshd", "runs", "failed"});
  for (const auto& series : all) {
    for (const WhichBoot& boot : kBoots) {
      auto row = row_of(series, boot);
      for (std::size_t i = 0; i < kBootPhases; ++i)
        row.push_back(
            median_text(phase_series(series, boot, static_cast<BootPhase>(i), seconds_of), 2));
      const Series whole = whole_series(series, boot, seconds_of);
      row.push_back(median_text(whole, 2));
      row.push_back(median_text(service_series(series, boot), 2));
      row.push_back(fmt::to_string(present(whole).size()));
      row.push_back(fmt::to_string(series.failures.size()));
      table.add(std::move(row));
    }
  }
  return "Seconds, medians:\n" + table.text();
}

std::string reads_table(const std::vector<RebootSeries>& all) {
  TextTable table = phase_table({"whole"});
  const auto both = [](const Series& requests, const Series& mebibytes) {
    return fmt::format("{} / {}", median_text(requests, 0), median_text(mebibytes, 1));
  };
  for (const auto& series : all) {
    for (const WhichBoot& boot : kBoots) {
      auto row = row_of(series, boot);
      for (std::size_t i = 0; i < kBootPhases; ++i) {
        const auto phase = static_cast<BootPhase>(i);
        row.push_back(both(phase_series(series, boot, phase, requests_of),
                           phase_series(series, boot, phase, mebibytes_of)));
      }
      row.push_back(
          both(whole_series(series, boot, requests_of), whole_series(series, boot, mebibytes_of)));
      table.add(std::move(row));
    }
  }
  return "Read from the disk, requests / MiB, medians:\n" + table.text();
}

std::string ratio_text(const BenchResult& r, double scale, const char* unit) {
  if (!r.ratio) return "-";
  std::string text = fmt::format("{:.2f}{}", *r.ratio * scale, unit);
  if (const auto holds = r.holds())
    text += fmt::format(" ({:.2f}{}: {})", *r.goal * scale, unit, *holds ? "held" : "missed");
  return text;
}

std::string compared_table(const std::vector<RebootSeries>& all) {
  TextTable table({"machine", "disk", "memory", "reboot to QEMU's (goal)", "to its cold boot",
                   "reads of the cold boot's (goal)", "reads one by one, s: cold", "again",
                   "ms a read", "memory MiB", "of it page cache"});
  for (const auto& series : all) {
    const auto reads_s = [&](const WhichBoot& boot) -> std::string {
      const auto requests = summarize(present(whole_series(series, boot, requests_of)));
      const auto read = summarize(present(whole_series(series, boot, mebibytes_of)));
      if (!requests || !read) return "-";
      return fmt::format("{:.2f}", seconds_of_reads(series.device, requests->median, read->median));
    };
    const auto to_cold = paired_ratio(whole_series(series, kAgain, seconds_of),
                                      whole_series(series, kCold, seconds_of));
    table.add({series.rebooter, series.device.name, format_size(series.memory),
               ratio_text(whole_result(series, all, kAgain), 1, ""),
               to_cold ? fmt::format("{:.2f}", *to_cold) : "-",
               ratio_text(reads_result(series), 100, " %"), reads_s(kCold), reads_s(kAgain),
               median_text(whole_series(series, kAgain, wait_of), 2),
               median_text(memory_series(series, kAgain, &HostMemory::used), 0),
               median_text(memory_series(series, kAgain, &HostMemory::page_cache), 0)});
  }
  return "The boot after the panic:\n" + table.text();
}

}  // namespace

std::vector<BenchResult> reboot_results(const std::vector<RebootSeries>& all) {
  std::vector<BenchResult> results;
  for (const auto& series : all) {
    for (const WhichBoot& boot : kBoots) add_boot(series, all, boot, results);
    add_counters(series, results);
    if (series.failures.empty()) continue;
    const double failed = static_cast<double>(series.failures.size());
    results.push_back(result("failed", series, "runs", {failed}));
  }
  return results;
}

std::string reboot_tables(const std::vector<RebootSeries>& all) {
  return times_table(all) + "\n" + reads_table(all) + "\n" + compared_table(all);
}

std::string reboot_chart(const std::vector<RebootSeries>& all, const RebootOptions& options,
                         const std::string& machine) {
  std::vector<Bar> bars;
  for (const auto& series : all) {
    for (const WhichBoot& boot : kBoots)
      bars.push_back({label_of(series) + " " + boot.name,
                      summarize(present(whole_series(series, boot, seconds_of)))});
  }
  return bar_chart(
      {.title = "Cold boot, and back after a panic: seconds until all runs",
       .note = fmt::format("{} vCPUs; median and p5 to p95; {}", options.cpus, machine),
       .unit = "s",
       .bars = std::move(bars)});
}

}  // namespace dvm::tools
