#include "vmm/boot/e820.h"

#include <algorithm>

#include "vmm/layout.h"

namespace dvm::vmm {

u64 low_ram_end(u64 ram_bytes) { return std::min(ram_bytes, layout::kLowRamEnd); }

std::vector<RamPart> ram_layout(u64 ram_bytes) {
  const u64 low = low_ram_end(ram_bytes);
  std::vector<RamPart> parts;
  if (low > 0) parts.push_back({0, low, 0});
  if (ram_bytes > low) parts.push_back({layout::kHighRamStart, ram_bytes - low, low});
  return parts;
}

RamPart firmware_part(u64 ram_bytes) {
  return {layout::kFirmwareWindow, layout::kFirmwareWindowBytes, ram_bytes};
}

std::vector<E820Entry> firmware_memory_map(u64 ram_bytes) {
  using enum E820Type;
  std::vector<E820Entry> map;
  for (const RamPart& part : ram_layout(ram_bytes)) map.push_back({part.gpa, part.bytes, ram});
  map.push_back({layout::kEcamBase, layout::kEcamBytes, reserved});
  map.push_back(
      {layout::kKvmIdentityMap, layout::kHighRamStart - layout::kKvmIdentityMap, reserved});
  std::ranges::sort(map, {}, &E820Entry::gpa);
  return map;
}

std::vector<E820Entry> memory_map(u64 ram_bytes) {
  using enum E820Type;
  std::vector<E820Entry> map;
  // Of the first MiB only conventional memory is offered: above it a PC has its video memory and
  // option ROMs, and the ACPI tables.
  if (ram_bytes > 0) map.push_back({0, std::min(ram_bytes, layout::kEbda), ram});
  map.push_back({layout::kAcpiTables, layout::kAcpiTablesEnd - layout::kAcpiTables, reserved});
  for (const RamPart& part : ram_layout(ram_bytes)) {
    const u64 start = std::max(part.gpa, 1 * kMiB);
    const u64 end = part.gpa + part.bytes;
    if (start < end) map.push_back({start, end - start, ram});
  }
  // Linux takes ECAM into use early only where the map reserves it
  // (arch/x86/pci/mmconfig-shared.c).
  map.push_back({layout::kEcamBase, layout::kEcamBytes, reserved});
  map.push_back(
      {layout::kKvmIdentityMap, layout::kHighRamStart - layout::kKvmIdentityMap, reserved});
  std::ranges::sort(map, {}, &E820Entry::gpa);
  return map;
}

}  // namespace dvm::vmm
