// What a worker does: takes one task after the other until the job is over.
#pragma once

#include <functional>

#include "tools/mapreduce/job.h"

namespace dvm::mapreduce {

// `beat` is called before every task, and at least every `tick_ns` while there is none. Several
// may work on one job, in any processes, each under an instance of its own.
//
// Failpoints, for the death at each step: mapreduce.claimed, .computed, .committed, .seen_done,
// .advanced.
void work(Job& job, fabric::InstanceId self, u64 tick_ns, const std::function<void()>& beat);

// The recovery of a dead worker: frees its tasks and wakes who waits for them, or for a step that
// it took without telling. Idempotent; run for a manager's death as well, where it finds nothing.
void release_tasks(Job& job, fabric::InstanceId dead);

// A worker process, from just after the fork: joins the fabric and its group with the policy
// `restart`, works, and leaves in order.
[[noreturn]] void run_worker_process(Job& job, fabric::InstanceId self);

}  // namespace dvm::mapreduce
