// When in a run workers are killed.
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::mapreduce {

// `crashes` moments, ascending, as parts of the run's tasks (0 to 1): the run is cut into as many
// equal pieces, and each has one at a random place. The last 2 % of a piece are left out, so that
// the last one is not missed by a run that ends meanwhile.
std::vector<double> spread_crashes(u32 crashes, u64 seed);

}  // namespace dvm::mapreduce
