// What the rounds of `dvm-bench reboot` come to, for programs and for people.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/bench_report.h"
#include "tools/bench/reboot_bench.h"

namespace dvm::tools {

std::vector<BenchResult> reboot_results(const std::vector<RebootSeries>& all);
// Times of the phases, reads of the phases, what the reboot is beside the cold boot and QEMU.
std::string reboot_tables(const std::vector<RebootSeries>& all);
std::string reboot_chart(const std::vector<RebootSeries>& all, const RebootOptions& options,
                         const std::string& machine);

}  // namespace dvm::tools
