// Where the vCPUs of a node go that is to have none: by an even spread over the others.
#pragma once

#include <span>
#include <vector>

#include "fabric/types.h"

namespace dvm::migration {

struct PlannedMove {
  u32 vcpu;
  u32 to;
  friend constexpr bool operator==(PlannedMove, PlannedMove) = default;
};

// `placement`: the node of each vCPU. Each vCPU on `node`, in order, goes to the one of `others`
// that then has fewest, the first of equals. Precondition: `others` is not empty, and `node` not
// one of them.
std::vector<PlannedMove> spread(std::span<const u32> placement, u32 node,
                                std::span<const u32> others);

}  // namespace dvm::migration
