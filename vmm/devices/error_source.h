// A hardware error source: tells the OS which pages of memory have been found bad, as a platform
// does whose firmware looks first. A page of registers holds the address of the error status block
// and the block itself; its interrupt stays up as long as the block has something to say.
// ACPI 6.5 §18.3.2.7 (generic hardware error source), UEFI 2.10 appendix N (the block's content).
#pragma once

#include <array>
#include <type_traits>

#include "fabric/types.h"

namespace dvm::vmm {

namespace error_source {

inline constexpr u64 kAddressRegister = 0;  // 64 bits, read only: of the block
inline constexpr u64 kBlock = 0x40;
inline constexpr u32 kBlockBytes = 20 + 72 + 80;

}  // namespace error_source

// Pages wait in the order in which they were reported; the block tells of the first.
struct ErrorSourceState {
  static constexpr u32 kPages = 32;
  std::array<u64, kPages> waiting{};  // guest physical addresses, multiples of 4096
  u32 waiting_count = 0;              // at most kPages
  u32 reserved = 0;
  u64 reported = 0;  // since the last reset
};
static_assert(sizeof(ErrorSourceState) == 32 * 8 + 16);
static_assert(std::is_trivially_copyable_v<ErrorSourceState>);

// One that waits already is not reported again. False: full, the OS takes none.
bool error_source_report(ErrorSourceState& state, u64 gpa);

// Accesses of 1 to 8 bytes anywhere in the page. What is not there reads as zero. A write that
// leaves the first byte of the block zero says that the OS has taken the page (§18.3.2.7.1); all
// others are swallowed.
u64 error_source_read(const ErrorSourceState& state, u64 offset, u8 size);
void error_source_write(ErrorSourceState& state, u64 offset, u8 size, u64 value);

// The level of its interrupt.
bool error_source_irq(const ErrorSourceState& state);

}  // namespace dvm::vmm
