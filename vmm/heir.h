// Who gets a vCPU whose node dies or loses its power.
#pragma once

#include <optional>

#include "vmm/machine.h"

namespace dvm::vmm {

// Of the living nodes that take vCPUs, one with the fewest; among equals another one for each vCPU.
// Nothing: there is none but `dying`. Allocates nothing. Threads: any.
std::optional<u8> heir_of(const Machine& machine, u32 vcpu, u32 dying);

}  // namespace dvm::vmm
