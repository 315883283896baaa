// What jobs in a guest whose nodes die come to. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/bench/job_bench.h"

namespace dvm::tools {

// The times as they would be without what the control's deaths cost: ending and starting processes.
Series less_control(const JobSeries& series, std::size_t kind);

// For each kind of run its time; for deaths also the time less the control's part, and the pauses.
// Ratios are to the run without deaths of the same round, goals Lupin's; where that is 0.0 % the
// spread of the runs without deaths.
std::vector<BenchResult> job_results(const std::vector<JobSeries>& all);
// The same as a table, for people.
std::string job_text(const std::vector<JobSeries>& all);
// A bar for each ratio.
std::string job_chart(const std::vector<JobSeries>& all, const std::string& machine);

}  // namespace dvm::tools
