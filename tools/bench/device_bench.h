// Runs the contenders in turns: one round runs each once, with all jobs, so that what disturbs the
// machine disturbs them alike.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tools/bench/bench_stats.h"
#include "tools/bench/console_run.h"
#include "tools/bench/device_contender.h"
#include "tools/bench/device_log.h"

namespace dvm::tools {

// One contender's rounds of one job; a round that failed has no values.
struct DeviceSeries {
  Series rate, exits, injected, interrupts;  // the last three for each operation
  std::optional<ExitCounts> reasons;
  double reasons_operations = 0;
};

struct DeviceSamples {
  DeviceContender contender;
  std::map<std::string, DeviceSeries> jobs;
  std::vector<std::string> failures;
};

// Why a run was no good one; none for a good one.
std::optional<std::string> device_failure(const ConsoleRun& run, const DeviceLog& log,
                                          const std::vector<DeviceJob>& jobs, double limit_s);

class DeviceBench {
 public:
  using Progress = std::function<void(const std::string&)>;
  DeviceBench(const DeviceOptions& options, std::vector<DeviceContender> contenders,
              Progress progress);
  // A warm-up round, the rounds that count and, if asked for, the one for the reasons.
  Result<std::vector<DeviceSamples>> run();

 private:
  enum class Round { warm_up, counted, reasons };
  Status run_round(Round kind, const std::string& title);
  Status run_once(DeviceSamples& samples, Round kind, const std::string& title);
  void take(DeviceSamples& samples, const DeviceLog& log, Round kind);
  DeviceLog::Sources sources(Round kind);

  DeviceOptions options_;
  std::vector<DeviceSamples> all_;
  Progress progress_;
  std::optional<ExitProfile> profile_;
};

}  // namespace dvm::tools
