// A guest's accesses to memory, carried out on a simulated machine under a policy. The same input
// gives the same result on every host.
#pragma once

#include "hyperkernel/locality/step_clock.h"
#include "tools/bench/locality_world.h"

namespace dvm::bench {

struct SimulatedMachine {
  locality::CostModel costs;
  u64 region_pages = 16'384;  // the coherent region: 64 MiB
  u32 slots = 0;              // vCPUs a node has cores for; 0: an even share and a quarter
};

struct SimulatedRun {
  double last_done_s = 0;  // when the last vCPU was done
  double vcpu_time_s = 0;  // of all vCPUs together
  WorldCounts counts;
  u64 vcpu_moves = 0;
  u64 decisions = 0;
  u32 most_moves_of_one = 0;
  std::vector<locality::Decision> last_decisions;
  std::vector<u8> placement;  // at the end
};

SimulatedRun simulate(MemoryWorkload& workload, const SimulatedMachine& machine,
                      locality::Policy& policy);

}  // namespace dvm::bench
