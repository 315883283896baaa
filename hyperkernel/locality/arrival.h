// A node that has come while the guest runs. No page is there, so nothing draws a vCPU to it: it is
// given one, once, of a node that has several. What follows is the policy's usual business, which
// may bring that one back.
#pragma once

#include <functional>
#include <optional>

#include "hyperkernel/locality/policy.h"

namespace dvm::locality {

// What a vCPU would lose by leaving the node it is on; in any unit.
using HeldBack = std::function<double(u16)>;

// The move of the vCPU that is held back least, of those on the most crowded node, to `node`, which
// has come. Nothing: `node` takes none or has one, or no node has two. Of equals the last goes.
std::optional<Decision> first_vcpu_for(u8 node, const Placement& now, u64 now_ns,
                                       const HeldBack& held_back);

}  // namespace dvm::locality
