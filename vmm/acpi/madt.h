// MADT: local APICs, the IOAPIC and how ISA interrupts reach it (ACPI 6.5 §5.2.12).
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

std::vector<u8> make_madt(u32 vcpus, bool has_pic);

}  // namespace dvm::vmm
