// What it costs who writes to memory that each epoch's beginning can be gone back to: without KVM,
// by one thread that writes and one that ends epochs.
#pragma once

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/bench/bench_report.h"

namespace dvm::tools {

// Two kinds of writes, in each of the ways (saving_ways.h), in turns. `rounds` that count, of
// `seconds` each.
Result<std::vector<BenchResult>> measure_saving(u32 rounds, u32 seconds);

}  // namespace dvm::tools
