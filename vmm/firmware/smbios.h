// The SMBIOS tables of the machine (DMTF DSP0134 2.8): what dmidecode and inventory tools read.
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

struct SmbiosMachine {
  u32 vcpus = 1;
  u64 memory_bytes = 0;
};

struct SmbiosTables {
  std::vector<u8> entry_point;  // 32-bit form; the firmware fills in where the structures lie
  std::vector<u8> structures;
};

// Pure.
SmbiosTables make_smbios(const SmbiosMachine& machine);

}  // namespace dvm::vmm
