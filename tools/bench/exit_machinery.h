// What the handling of an exit costs in user space, without KVM: exits are made up.
#pragma once

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/bench/bench_report.h"

namespace dvm::tools {

// In ns an exit, of machines that are protected, beside one that is not. `rounds` that count.
Result<std::vector<BenchResult>> measure_exits(u32 rounds);

}  // namespace dvm::tools
