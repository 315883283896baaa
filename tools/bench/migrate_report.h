// What the moves of vCPUs come to, beside what they are compared with. Pure.
#pragma once

#include "tools/bench/bench_report.h"
#include "tools/bench/move_bench.h"

namespace dvm::tools {

// `downtime_us`: QEMU's; empty if it was not asked for.
std::vector<BenchResult> move_results(const MoveSamples& moves, const Series& downtime_us);
// A figure by itself, in microseconds.
BenchResult plain_result(const std::string& name, const Series& us);
// One that must not be above `limit_us`.
BenchResult limited_result(const std::string& name, const Series& us, double limit_us);

}  // namespace dvm::tools
