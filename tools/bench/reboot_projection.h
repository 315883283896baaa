// What memory does to a reboot: seconds a GiB more, and what that makes of 1 TiB. A projection of
// what was measured, not a measurement.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/bench/line_fit.h"
#include "tools/bench/reboot_bench.h"

namespace dvm::tools {

struct PhaseProjection {
  std::string rebooter, device;
  std::string phase;  // or "whole"
  LineFit line;       // seconds by GiB
};

inline constexpr double kProjectedGib = 1024;

// Of the boot after the panic, by all rounds; nothing unless there were two sizes of memory.
std::vector<PhaseProjection> reboot_projections(const std::vector<RebootSeries>& all);
std::vector<BenchResult> projection_results(const std::vector<PhaseProjection>& all);
std::string projection_table(const std::vector<PhaseProjection>& all);

}  // namespace dvm::tools
