// Runs a job: forks its processes, starts a dead one's successor, and kills workers where the run
// is to have crashes.
#pragma once

#include <string>
#include <vector>

#include "tools/mapreduce/job.h"

namespace dvm::mapreduce {

// A failpoint to arm before the run begins: who passes it for the (skip + 1)-th time, counted over
// all processes or in one, kills itself.
struct PointToDieAt {
  std::string name;
  u32 skip = 0;
  u32 instance = ~0u;  // only there: a worker, from 0
};

struct RunOptions {
  static constexpr u32 kMostWorkers = 48;
  u32 workers = 16;                  // 1 to kMostWorkers
  u32 crashes = 0;                   // workers killed by SIGKILL, spread evenly over the run
  u64 seed = 1;                      // when and whom
  std::vector<PointToDieAt> points;  // at most FaultTable::kFaults
};

struct RunResult {
  u64 elapsed_ns = 0;    // from the opened gate, all workers waiting at it, to the last task's end
  u64 processor_ns = 0;  // user and system time of all processes but the launcher
  u32 crashes = 0;       // that were wanted by number and took place
  u32 restarts = 0;      // of any process
  u64 begun_again = 0;   // tasks, see JobRecord
  std::vector<std::byte> output;
};

// Resets the job and runs it to its end. The caller has no other threads and no child of its own
// that a fork would harm; all processes of the run are gone when this returns. Errors: what is out
// of range; a process that could not be forked; processes that die again and again without having
// been told to; nothing done for kGiveUpNs.
//
// The launcher's own death ends the run: its children get SIGKILL.
inline constexpr u64 kGiveUpNs = 120'000'000'000;
Result<RunResult> run_job(Job& job, const RunOptions& options);

}  // namespace dvm::mapreduce
