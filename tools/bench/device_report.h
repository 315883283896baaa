// What the rounds of a device benchmark come to, for programs and for people.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/bench/device_bench.h"

namespace dvm::tools {

// One job of one contender.
struct JobFigures {
  std::string job, contender;
  BenchResult rate, exits, injected, interrupts;
  std::optional<Summary> ratio;  // of the rate to the peer's, over the rounds
  std::optional<ExitCounts> reasons;
  double reasons_operations = 0;
};

// In the order of the jobs, then of the contenders. `benchmark`: "disk".
std::vector<JobFigures> job_figures(const std::string& benchmark,
                                    const std::vector<DeviceJob>& jobs,
                                    const std::vector<DeviceSamples>& all);
std::vector<BenchResult> device_results(const std::vector<JobFigures>& figures);
std::string device_table(const std::vector<JobFigures>& figures);
// Exits for each operation by reason; empty if they were not counted.
std::string device_reasons_table(const std::vector<JobFigures>& figures);
std::string device_chart(const std::string& benchmark, const std::vector<JobFigures>& figures,
                         const DeviceOptions& options, const std::string& machine);

}  // namespace dvm::tools
