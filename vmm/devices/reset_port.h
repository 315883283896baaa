// The reset control register at port 0xcf9, which the FADT names as RESET_REG.
// "Intel I/O Controller Hub 9 Family Datasheet", RST_CNT.
#pragma once

#include <type_traits>

#include "vmm/effects.h"

namespace dvm::vmm {

namespace reset_port {

inline constexpr u8 kSystemReset = 0x02;  // hard instead of soft; here both are the same
inline constexpr u8 kResetCpu = 0x04;     // its rise resets
inline constexpr u8 kFullReset = 0x08;    // power cycle

}  // namespace reset_port

struct ResetPortState {
  u8 value = 0;
};
static_assert(sizeof(ResetPortState) == 1 && std::is_trivially_copyable_v<ResetPortState>);

// The register is a byte inside the PCI address port's four: only accesses of one byte are for it.
inline u8 reset_port_read(const ResetPortState& state) { return state.value; }

// RST_CPU is not kept: with the reset that its rise causes it is 0 again.
inline void reset_port_write(ResetPortState& state, u8 value, Effects& effects) {
  state.value = value & (reset_port::kSystemReset | reset_port::kFullReset);
  if (value & reset_port::kResetCpu) effects.power = PowerRequest::reset;
}

}  // namespace dvm::vmm
