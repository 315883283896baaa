// The process that runs the fabric manager and the recovery of dead workers. A job has two: one
// that leads, and one that stands by for it.
#pragma once

#include "fabric/manager.h"
#include "tools/mapreduce/job.h"

namespace dvm::mapreduce {

// From just after the fork until it is killed: it has nothing to finish once all workers are gone.
[[noreturn]] void run_manager_process(Job& job, fabric::InstanceId self,
                                      fabric::Manager::Eagerness eagerness);

}  // namespace dvm::mapreduce
