// What `dvm-bench pages` measures: software coherence between two nodes, without a guest and
// without KVM. A thread that touches a node's view is served as a vCPU would be.
#pragma once

#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/bench/bench_report.h"

namespace dvm::bench {

struct PagesSettings {
  u64 pages = 4096;  // of RAM; each round moves all of them
  u32 rounds = 9;
};

// Forks: called before anything makes threads. Error: software coherence cannot run here.
Result<std::vector<tools::BenchResult>> measure_pages(const PagesSettings& settings);

}  // namespace dvm::bench
