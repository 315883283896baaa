// What the rounds of the boot benchmark come to, for programs and for people.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/bench/boot_bench.h"

namespace dvm::tools {

// One contender's figures.
struct BootFigures {
  BenchResult userspace, end, guest, exits;
  BenchResult hand_overs, faults;  // of software coherence, else without values
  std::size_t failed = 0;
  std::optional<double> to_qemu;  // time to user space over that of the faster QEMU
  std::optional<ExitCounts> reasons;
  std::string name;
};

std::vector<BootFigures> boot_figures(const std::vector<BootSamples>& all);
std::vector<BenchResult> boot_results(const std::vector<BootFigures>& figures);
std::string boot_table(const std::vector<BootFigures>& figures);
// The exits by reason, a column for each contender; empty if they were not counted.
std::string boot_reasons_table(const std::vector<BootFigures>& figures);
std::string boot_chart(const std::vector<BootFigures>& figures, const BootOptions& options,
                       const std::string& machine);

}  // namespace dvm::tools
