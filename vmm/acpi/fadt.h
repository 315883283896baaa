// FADT: the fixed ACPI registers and what the platform is (ACPI 6.5 §5.2.9); FACS: the memory that
// firmware and OS share (§5.2.10).
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

// Where the FADT holds addresses (ACPI 6.5 table 5.9).
inline constexpr u32 kFadtFirmwareCtrl = 36;  // 4 bytes
inline constexpr u32 kFadtDsdt = 40;          // 4
inline constexpr u32 kFadtXDsdt = 140;        // 8

std::vector<u8> make_fadt(u64 facs, u64 dsdt);
std::vector<u8> make_facs();

}  // namespace dvm::vmm
