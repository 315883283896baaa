// A machine made of a checkpoint, again and again, by its parts. No guest, no KVM.
#pragma once

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/bench/bench_stats.h"

namespace dvm::tools {

struct RestoreSamples {
  Series launcher_us, node_us;  // until the first instruction
  Series page_us;               // the first that is touched
  Series read_us;               // all of the file into fresh memory
  Series ours_us() const;
};

// `memory`: a multiple of 2 MiB. A quarter of it is in use.
Result<RestoreSamples> measure_restore(u64 memory, u32 rounds);

}  // namespace dvm::tools
