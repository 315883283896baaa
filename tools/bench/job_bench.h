// Jobs in a guest whose nodes die meanwhile: how much longer they take.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "tools/bench/bench_stats.h"
#include "tools/bench/job_plan.h"
#include "tools/bench/recovery_options.h"

namespace dvm::tools {

// A job under one protection; a value for each round, by what happened in it.
struct JobSeries {
  const JobKind* job = nullptr;
  const JobProtection* protection = nullptr;
  // From the first piece to the last one, by the clock of the host.
  std::array<Series, kJobRunKinds.size()> seconds;
  // The pauses of the vCPUs whose node died, added up; none where no vCPU's does.
  std::array<Series, kJobRunKinds.size()> still_ms;
};

struct JobFigures {
  std::vector<JobSeries> series;
  // Of the runs that gave no value, what went wrong: a wrong result, a guest that ended.
  std::vector<std::string> failures;
};

// In each round each job, under each protection, runs in one guest after the other that differ in
// the deaths alone, another one first in each round. Progress goes to stderr.
JobFigures measure_jobs(const RecoveryOptions& options, const std::string& dvm_run);

}  // namespace dvm::tools
