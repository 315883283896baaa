// Two things measured side by side: run in pairs, in the order ab ba ab …, so that whatever else
// happens on the machine happens to both.
#pragma once

#include <functional>
#include <vector>

#include "fabric/types.h"

namespace dvm::bench {

struct PairedTimes {
  std::vector<double> ours, peer;  // one value for each run
  double ratio() const;            // geometric mean of ours / peer over the pairs
  double ratio_upper() const;      // its one-sided upper 95 % bound (Student's t on the logarithms)
};

double percentile(std::vector<double> values, double p);  // p in 0..100; 0 of nothing

// The first pair warms up and is not counted; nor is one in which either gave 0 (it could not
// measure).
PairedTimes run_pairs(u32 pairs, const std::function<double()>& ours,
                      const std::function<double()>& peer);

}  // namespace dvm::bench
