// Where guest RAM lies, and the memory map that tells the guest (ACPI 6.5 §15, "E820"). Pure.
#pragma once

#include <vector>

#include "fabric/types.h"
#include "hyperkernel/ram_layout.h"

namespace dvm::vmm {

// The types of ACPI 6.5 table 15.374; PVH's memory map uses the same numbers.
enum class E820Type : u32 { ram = 1, reserved = 2 };

struct E820Entry {
  u64 gpa = 0;
  u64 bytes = 0;
  E820Type type = E820Type::ram;
};

using RamPart = hyperkernel::RamPart;

// The end of the RAM below the PCI hole. Kernel, initrd and boot structures all lie under it.
u64 low_ram_end(u64 ram_bytes);

// RAM without holes from 0 up to the PCI hole, the rest from 4 GiB. `ram_bytes` is whole pages.
std::vector<RamPart> ram_layout(u64 ram_bytes);

// The frames behind the firmware's image, which follow those of RAM.
RamPart firmware_part(u64 ram_bytes);

// What the guest may use and what it must leave alone: sorted, no overlaps, every ram entry is RAM.
std::vector<E820Entry> memory_map(u64 ram_bytes);
// The same for firmware, which itself sets apart what it uses: all RAM, and what is none but looks
// free. Sorted.
std::vector<E820Entry> firmware_memory_map(u64 ram_bytes);

}  // namespace dvm::vmm
