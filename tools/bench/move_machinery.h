// What a vCPU's move costs besides KVM's ioctls: its way through the pool from one process to
// another, by the code that nodes move them with.
#pragma once

#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/bench/bench_report.h"

namespace dvm::tools {

Result<std::vector<BenchResult>> measure_machinery(u32 moves);

}  // namespace dvm::tools
