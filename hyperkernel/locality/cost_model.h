// What it costs to reach memory and to move things, on this machine: what decisions are weighed by.
#pragma once

#include <string>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::locality {

struct CostModel {
  double dram_ns = 100;           // a line of local memory, not in the caches
  double region_ns = 250;         // a line of the coherent region
  double page_move_ns = 11'000;   // a page that comes to a node
  double page_share_ns = 20'000;  // a page into the coherent region
  double vcpu_move_ns = 500'000;  // a vCPU to another node
  // Lines that an access to a page touches before it goes elsewhere: not to be seen from outside.
  double lines_per_visit = 16;

  // What an access costs more when the page is in the coherent region.
  double region_extra_ns() const {
    return region_ns > dram_ns ? (region_ns - dram_ns) * lines_per_visit : 0;
  }
};

// What every cost must be in: finite and above 0, an hour at most.
Status check_costs(const CostModel& costs);
// Costs of a kind of machine: "pod" (CXL 2.0 memory of a pod, servers), "host" (nodes are processes
// of one host), "lab" (the emulated lab host).
Result<CostModel> costs_named(const std::string& name);
std::string costs_text(const CostModel& costs);

// Follows what was measured: a cost moves an eighth of the way to each new value.
inline void learn_cost(double& cost, u64 measured_ns) {
  cost += (static_cast<double>(measured_ns) - cost) / 8;
}

}  // namespace dvm::locality
