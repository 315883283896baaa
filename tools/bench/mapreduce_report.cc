// What the series of mapreduce_bench.h come to. Pure.
#include <algorithm>

#include "tools/bench/mapreduce_bench.h"
#include "tools/text_table.h"

namespace dvm::tools {
namespace {

struct LupinFigures {
  std::string_view app;
  double one = 0, eight = 0;  // percent slower with as many crashes
};
// Table of the MapReduce applications in Lupin's paper.
constexpr LupinFigures kLupin[] = {{"wordcount", 0.0, 2.9},       {"kmeans", 0.0, 2.5},
                                   {"matrix-multiply", 0.0, 4.6}, {"histogram", 0.0, 7.8},
                                   {"black-scholes", 0.0, 0.0},   {"dedup", 3.4, 6.3}};

BenchResult result_of(const MapReduceSeries& series, std::size_t kind) {
  const u32 crashes = series.crashes[kind];
  BenchResult result{.name = fmt::format("mapreduce.{}.{}-workers.{}-crashes", series.app,
                                         series.workers, crashes),
                     .unit = "ms",
                     .summary = summarize(present(series.ms[kind]))};
  if (crashes == 0) return result;
  const auto without = summarize(present(series.ms[0]));
  result.peer = "0 crashes";
  if (without) result.peer_median = without->median;
  result.ratio = paired_ratio(series.ms[kind], series.ms[0]);
  const auto lupin = lupin_slowdown(series.app, crashes);
  if (lupin) result.goal = *lupin > 0 ? 1 + *lupin : spread_above(series.ms[0]);
  return result;
}

BenchResult processor_time(const MapReduceSeries& series, std::size_t kind) {
  BenchResult result{.name = result_of(series, kind).name + ".processor-time",
                     .unit = "ms",
                     .summary = summarize(present(series.processor_ms[kind]))};
  if (kind == 0) return result;
  result.peer = "0 crashes";
  if (const auto without = summarize(present(series.processor_ms[0])))
    result.peer_median = without->median;
  result.ratio = paired_ratio(series.processor_ms[kind], series.processor_ms[0]);
  return result;
}

std::string percent(double ratio) { return fmt::format("{:+.1f} %", (ratio - 1) * 100); }

std::vector<std::string> text_row(const MapReduceSeries& series, std::size_t kind) {
  const BenchResult r = result_of(series, kind);
  const BenchResult used = processor_time(series, kind);
  const Summary time = r.summary.value_or(Summary{});
  std::vector<std::string> row = {series.app,
                                  fmt::format("{}", series.workers),
                                  fmt::format("{}", series.crashes[kind]),
                                  fmt::format("{:.0f}", time.median),
                                  fmt::format("{:.0f}-{:.0f}", time.p5, time.p95),
                                  r.ratio ? percent(*r.ratio) : "",
                                  "",
                                  "",
                                  used.ratio ? percent(*used.ratio) : "",
                                  fmt::format("{}", series.begun_again[kind])};
  if (const auto lupin = lupin_slowdown(series.app, series.crashes[kind])) {
    row[6] = *lupin > 0 ? percent(1 + *lupin)
                        : fmt::format("0.0 % (spread {})", percent(spread_above(series.ms[0])));
  }
  if (const auto holds = r.holds()) row[7] = *holds ? "holds" : "MISSED";
  return row;
}

}  // namespace

std::optional<double> lupin_slowdown(const std::string& app, u32 crashes) {
  const auto* found = std::find_if(std::begin(kLupin), std::end(kLupin),
                                   [&](const LupinFigures& f) { return f.app == app; });
  if (found == std::end(kLupin) || (crashes != 1 && crashes != 8)) return std::nullopt;
  return (crashes == 1 ? found->one : found->eight) / 100;
}

std::vector<BenchResult> mapreduce_results(const std::vector<MapReduceSeries>& all) {
  std::vector<BenchResult> results;
  for (const MapReduceSeries& series : all) {
    for (std::size_t kind = 0; kind < series.crashes.size(); ++kind) {
      results.push_back(result_of(series, kind));
      results.push_back(processor_time(series, kind));
    }
  }
  return results;
}

std::string mapreduce_text(const std::vector<MapReduceSeries>& all) {
  TextTable table({"application", "workers", "crashes", "median ms", "p5-p95", "slower", "Lupin",
                   "goal", "processor time", "begun again"});
  for (const MapReduceSeries& series : all) {
    for (std::size_t kind = 0; kind < series.crashes.size(); ++kind)
      table.add(text_row(series, kind));
  }
  return table.text();
}

}  // namespace dvm::tools
