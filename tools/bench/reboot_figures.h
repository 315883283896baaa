// Series of numbers out of the traces of `dvm-bench reboot`. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/bench_stats.h"
#include "tools/bench/reboot_bench.h"

namespace dvm::tools {

// The boot that is looked at, and its name in results.
struct WhichBoot {
  const char* name;
  BootTrace RebootTrace::*trace;
};
inline constexpr WhichBoot kBoots[] = {{"cold", &RebootTrace::cold},
                                       {"again", &RebootTrace::again}};

// The time and the reads of each phase by itself: what the instant before it had is taken off. A
// phase that was not seen is none, and is part of the next one.
std::array<std::optional<BootPoint>, kBootPhases> steps_of(const BootTrace& boot);

using PointValue = double (*)(const BootPoint&);
double seconds_of(const BootPoint& point);
double requests_of(const BootPoint& point);
double mebibytes_of(const BootPoint& point);
double wait_of(const BootPoint& point);  // ms, of a read on average, as the host's kernel saw it

Series phase_series(const RebootSeries& series, const WhichBoot& boot, BootPhase phase,
                    PointValue value);
// From the beginning of the boot until all services run.
Series whole_series(const RebootSeries& series, const WhichBoot& boot, PointValue value);
Series service_series(const RebootSeries& series, const WhichBoot& boot);
// MiB of this host's memory that the machine takes once it runs, and what of it is page cache.
Series memory_series(const RebootSeries& series, const WhichBoot& boot, u64 HostMemory::*what);

// "dvm-srt.nvme.1024M".
std::string label_of(const RebootSeries& series);
// The peer's on the same disk with the same memory; none if it was not run, or is this.
const RebootSeries* peer_of(const RebootSeries& series, const std::vector<RebootSeries>& all);

}  // namespace dvm::tools
