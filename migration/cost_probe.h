// What it costs here to reach memory and to move things, measured once before anything is decided.
// From then on costs follow what is really paid.
#pragma once

#include "vmm/machine.h"

namespace dvm::migration {

// What cannot be measured (no userfaultfd, no KVM) is left as the model has it. Takes some
// milliseconds, and some tens where KVM is emulated. Threads: any.
locality::CostModel measure_costs(vmm::Machine& machine);

// The parts, each the median of several; nothing: not to be measured here.
double line_ns(std::span<const std::byte> memory);
std::optional<double> page_move_ns();
std::optional<double> vcpu_move_ns(vmm::Machine& machine);

}  // namespace dvm::migration
