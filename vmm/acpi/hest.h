// HEST: where hardware errors are reported (ACPI 6.5 §18.3.2): one generic hardware error source,
// which is vmm/devices/error_source.h.
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

std::vector<u8> make_hest();

}  // namespace dvm::vmm
