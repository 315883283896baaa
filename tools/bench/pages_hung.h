// Writing what a node has read-only copies of, while it is well and while it hangs.
#pragma once

#include <span>

#include "tools/bench/bench_report.h"
#include "tools/bench/pages_peer.h"

namespace dvm::bench {

class HungNodeRows {
 public:
  // One round over `pages`, in their order.
  void round(hyperkernel::Pager& node, PagesPeer& peer, std::span<const u64> pages);
  std::vector<tools::BenchResult> results() const;

 private:
  // Microseconds of one round and of all.
  struct Row {
    std::vector<double> all, medians;
  };
  void write_copies(hyperkernel::Pager& node, std::span<const u64> pages, Row& row);

  Row well_, hung_, well_resting_, hung_resting_;
};

}  // namespace dvm::bench
