// 00:00.0, the q35 host bridge (Intel 3 Series Express Chipset Family datasheet, "DRAM Controller
// Registers (D0:F0)"): what firmware and kernel look at, and nothing behind it. Its registers are
// an ordinary ConfigSpace, read and written by config_read and config_write.
#pragma once

#include "vmm/layout.h"
#include "vmm/pci/config_space.h"

namespace dvm::vmm {

// Offsets in the bridge's configuration space.
inline constexpr u16 kHostBridgePciexbar = 0x60;
inline constexpr u16 kHostBridgePam0 = 0x90;  // to 0x96: shadow RAM below 1 MiB
inline constexpr u16 kHostBridgeSmram = 0x9d;

ConfigSpace make_host_bridge();

// The GSI that a function's INTx pin drives; `pin` as in the Interrupt Pin register, 1: INTA .. 4:
// INTD. The usual rotation by slot (PCI 3.0 §2.2.6 note), over the eight pins behind the ISA ones.
constexpr u8 intx_gsi(u8 slot, u8 pin) {
  return static_cast<u8>(layout::kPciFirstGsi + (slot + pin - 1) % 8);
}

}  // namespace dvm::vmm
