#include "tools/bench/job_report.h"

#include "tools/bench/bar_chart.h"
#include "tools/bench/mapreduce_bench.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

std::string label(const JobSeries& series, std::size_t kind) {
  return fmt::format("{}.{}.{}", series.protection->name, series.job->name,
                     kJobRunKinds[kind].name);
}

const Series& without_deaths(const JobSeries& series) { return series.seconds[kNoDeaths]; }

std::optional<double> lupin(const JobSeries& series, std::size_t kind) {
  if (kJobRunKinds[kind].spare) return std::nullopt;
  return lupin_slowdown(series.job->lupin, kJobRunKinds[kind].deaths);
}

BenchResult beside_no_deaths(const JobSeries& series, std::size_t kind, const Series& seconds,
                             const char* suffix) {
  BenchResult r{.name = fmt::format("recovery.jobs.{}{}", label(series, kind), suffix),
                .unit = "s",
                .summary = summarize(present(seconds))};
  if (kind == kNoDeaths) return r;
  r.peer = kJobRunKinds[kNoDeaths].name;
  if (const auto none = summarize(present(without_deaths(series)))) r.peer_median = none->median;
  r.ratio = paired_ratio(seconds, without_deaths(series));
  if (const auto goal = lupin(series, kind))
    r.goal = *goal > 0 ? 1 + *goal : spread_above(without_deaths(series));
  return r;
}

std::string percent(double ratio) { return fmt::format("{:+.1f}", (ratio - 1) * 100); }

// "+12.3 (+10.0 to +14.1)"
std::string slower(const Series& seconds, const Series& none) {
  const auto ratio = summarize(present(ratios(seconds, none)));
  if (!ratio) return "";
  return fmt::format("{} ({} to {})", percent(ratio->median), percent(ratio->p5),
                     percent(ratio->p95));
}

std::vector<std::string> text_row(const JobSeries& series, std::size_t kind) {
  const auto time = summarize(present(series.seconds[kind]));
  const auto still = summarize(present(series.still_ms[kind]));
  std::vector<std::string> row = {series.protection->name,
                                  series.job->name,
                                  kJobRunKinds[kind].name,
                                  time ? fmt::format("{:.2f}", time->median) : "failed",
                                  "",
                                  "",
                                  still ? fmt::format("{:.0f}", still->median) : "",
                                  ""};
  if (kind == kNoDeaths) return row;
  row[4] = slower(series.seconds[kind], without_deaths(series));
  if (const auto goal = lupin(series, kind)) {
    row[5] = slower(less_control(series, kind), without_deaths(series));
    row[7] = percent(1 + *goal);
  }
  return row;
}

}  // namespace

Series less_control(const JobSeries& series, std::size_t kind) {
  const Series& none = without_deaths(series);
  const Series& control = series.seconds[kControl];
  const double share = static_cast<double>(kJobRunKinds[kind].deaths) /
                       static_cast<double>(kJobRunKinds[kControl].deaths);
  Series left;
  for (std::size_t i = 0; i < series.seconds[kind].size(); ++i) {
    const auto& time = series.seconds[kind][i];
    const bool all = time && i < none.size() && none[i] && i < control.size() && control[i];
    left.push_back(all ? std::optional(*time - (*control[i] - *none[i]) * share) : std::nullopt);
  }
  return left;
}

std::vector<BenchResult> job_results(const std::vector<JobSeries>& all) {
  std::vector<BenchResult> results;
  for (const JobSeries& series : all) {
    for (std::size_t kind = 0; kind < kJobRunKinds.size(); ++kind) {
      results.push_back(beside_no_deaths(series, kind, series.seconds[kind], ""));
      if (kind == kNoDeaths || kind == kControl) continue;
      results.push_back(
          beside_no_deaths(series, kind, less_control(series, kind), ".less-control"));
      results.push_back({.name = fmt::format("recovery.jobs.{}.still", label(series, kind)),
                         .unit = "ms",
                         .summary = summarize(present(series.still_ms[kind]))});
    }
  }
  return results;
}

std::string job_text(const std::vector<JobSeries>& all) {
  TextTable table({"protect", "job", "run", "median s", "slower, %", "less the control",
                   "still, ms", "Lupin, %"});
  for (const JobSeries& series : all) {
    for (std::size_t kind = 0; kind < kJobRunKinds.size(); ++kind)
      table.add(text_row(series, kind));
  }
  return table.text();
}

std::string job_chart(const std::vector<JobSeries>& all, const std::string& machine) {
  std::vector<Bar> bars;
  for (const JobSeries& series : all) {
    for (std::size_t kind = kNoDeaths + 1; kind < kJobRunKinds.size(); ++kind) {
      const Series ratio = ratios(series.seconds[kind], without_deaths(series));
      bars.push_back({label(series, kind), summarize(present(ratio))});
    }
  }
  return bar_chart({.title = "Jobs in a guest whose nodes die: time over that without deaths",
                    .note = "median and p5 to p95; " + machine,
                    .unit = "x",
                    .bars = std::move(bars)});
}

}  // namespace dvm::tools
