// The ACPI tables of the machine (ACPI 6.5 §5.2): what a guest learns about CPUs, interrupts, power
// and the PCI bus. Everything but the number of vCPUs is fixed by vmm/layout.h.
#pragma once

#include <string>
#include <vector>

#include "fabric/result.h"
#include "hyperkernel/guest_memory.h"
#include "vmm/layout.h"

namespace dvm::vmm {

// Local APIC id 255 is the broadcast: one byte of id in the MADT's entries holds 0..254.
inline constexpr u32 kMaxAcpiVcpus = 255;
inline constexpr u64 kAcpiAlignment = 64;  // the FACS's (ACPI 6.5 §5.2.10), enough for all

struct AcpiConfig {
  u32 vcpus = 1;  // APIC id = processor UID = vCPU index
  bool watchdog = false;
  bool firmware = false;           // the machine has what firmware needs: 8259s, fw_cfg
  u64 base = layout::kAcpiTables;  // where the tables lie, a multiple of 64
};

struct AcpiTable {
  std::string signature;  // "RSD PTR " or four characters
  u64 gpa = 0;
  std::vector<u8> bytes;
};

// All tables, the RSDP first here and last in memory: what is before it lies without gaps from
// `base` on, but for alignment, and takes no more than kAcpiTablesEnd - kAcpiTables bytes. Pure.
Result<std::vector<AcpiTable>> build_acpi_tables(const AcpiConfig& config);

// Writes them; returns the RSDP's address.
Result<u64> write_acpi_tables(const hyperkernel::GuestMemory& memory, const AcpiConfig& config);

}  // namespace dvm::vmm
