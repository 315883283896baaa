// One guest, one job in it, and nodes that die meanwhile.
#pragma once

#include <functional>
#include <string>

#include "fabric/result.h"
#include "tools/bench/job_plan.h"
#include "tools/bench/recovery_options.h"

namespace dvm::tools {

struct JobRun {
  const JobKind& job;
  const JobProtection& protection;
  const JobRunKind& kind;
};

struct JobTimes {
  double seconds = 0;        // from the first piece to the last one, by the clock of the host
  double guest_seconds = 0;  // by that of the guest
  double still_ms = 0;       // the pauses of the vCPUs whose node died, added up
};

// `begun` is called as the job begins.
// Errors: what the job computed is wrong; fewer deaths than wanted; the guest ended.
Result<JobTimes> run_job(const JobRun& run, const RecoveryOptions& options,
                         const std::string& dvm_run, const std::function<void()>& begun);

}  // namespace dvm::tools
