// DSDT: the devices that no bus enumerates, in AML (ACPI 6.5 §5.2.11.1).
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

std::vector<u8> make_dsdt(u32 vcpus, bool has_fw_cfg);

}  // namespace dvm::vmm
