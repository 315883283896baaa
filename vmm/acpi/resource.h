// Resource descriptors: what a device decodes and which interrupts it raises (ACPI 6.5 §6.4).
#pragma once

#include "vmm/acpi/aml.h"

namespace dvm::vmm::aml {

enum class Trigger : u8 { level = 0, edge = 1 };
enum class Polarity : u8 { active_high = 0, active_low = 1 };

// Fixed I/O ports, all 16 address bits decoded (§6.4.2.5).
Code io_ports(u16 first, u8 count);
// Interrupts of the IOAPICs, not shared (§6.4.3.6).
Code interrupt(u32 gsi, Trigger trigger, Polarity polarity);
// Fixed memory below 4 GiB (§6.4.3.4).
Code memory32(u32 base, u32 bytes, bool writable);

// Windows that a bridge passes on to the bus behind it, [first, last] (§6.4.3.5).
Code bus_window(u16 first, u16 last);
Code io_window(u16 first, u16 last);
Code memory_window32(u32 first, u32 last);  // not cacheable, read-write
Code memory_window64(u64 first, u64 last);

// A buffer with the descriptors and their end tag: the value of _CRS.
Code resource_template(std::initializer_list<Code> descriptors);

}  // namespace dvm::vmm::aml
