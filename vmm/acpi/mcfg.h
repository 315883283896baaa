// MCFG: where PCI configuration space is memory-mapped (PCI Firmware Specification 3.3 §4.1.2).
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

std::vector<u8> make_mcfg();

}  // namespace dvm::vmm
