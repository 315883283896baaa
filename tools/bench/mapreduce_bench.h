// What crashes cost a MapReduce job: runs with and without, in turn, of the same input.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/bench/bench_report.h"

namespace dvm::tools {

struct MapReduceSettings {
  std::vector<std::string> apps;      // empty: all
  std::vector<u32> workers;           // empty: 16, and as many as there are processors
  std::vector<u32> crashes = {1, 8};  // beside none
  u32 runs = 9;                       // of each
  u64 seed = 1;                       // of inputs and crashes
  bool small = false;                 // inputs of tests, to try it out
};

// For each application and number of workers: time without crashes, and with each number of them.
struct MapReduceSeries {
  std::string app;
  u32 workers = 0;
  std::vector<u32> crashes;          // 0 first
  std::vector<Series> ms;            // one for each, a value for each round
  std::vector<Series> processor_ms;  // of all processes of the run
  std::vector<u64> begun_again;      // tasks, in all runs of each
};

// Lupin's slowdown with that many crashes, as a part (0.034: 3.4 %); none: it names none.
std::optional<double> lupin_slowdown(const std::string& app, u32 crashes);

// Every output is compared with that of the first run without crashes, and that with what plain
// sequential code makes. Forks, so the caller has no other threads. Progress goes to stderr.
// Errors: an output that differs; a run with fewer crashes than wanted; those of run_job.
Result<std::vector<MapReduceSeries>> measure_mapreduce(const MapReduceSettings& settings);

// A row for each, and one for the processor time, which other work on the machine hardly changes.
// The ratio is the median over the rounds of the time with crashes over that without; the goal is
// Lupin's, where it has one, and where that is 0.0 % the spread of the runs without crashes: their
// 95th percentile over their median.
std::vector<BenchResult> mapreduce_results(const std::vector<MapReduceSeries>& all);
// The same as a table, for people.
std::string mapreduce_text(const std::vector<MapReduceSeries>& all);

}  // namespace dvm::tools
