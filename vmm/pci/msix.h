// MSI-X of one function (PCI Local Bus 3.0 §6.8.2): vector table, pending bits, masking. Pure.
// Messages leave as Effects.
#pragma once

#include <array>
#include <optional>
#include <type_traits>

#include "fabric/types.h"
#include "vmm/effects.h"
#include "vmm/pci/config_space.h"

namespace dvm::vmm {

inline constexpr u16 kMsixMaxVectors = 18;

// PCI 3.0 §6.8.2.6..9: an entry as it lies in memory space.
struct MsixEntry {
  u32 address_low;
  u32 address_high;
  u32 data;
  u32 vector_control;
};
static_assert(sizeof(MsixEntry) == 16);
inline constexpr u32 kMsixVectorMasked = 1u << 0;

// Message Control, the upper half of the capability's first doubleword (PCI 3.0 §6.8.2.3).
inline constexpr u16 kMsixControlFunctionMask = 1u << 14;
inline constexpr u16 kMsixControlEnable = 1u << 15;

struct MsixState {
  std::array<MsixEntry, kMsixMaxVectors> table;
  u32 pending;  // bit per vector
  u16 vectors;
  u8 enabled;  // these two follow from the config space, see msix_set_control
  u8 masked;
};
static_assert(sizeof(MsixState) == 296);
static_assert(std::is_trivially_copyable_v<MsixState> && std::is_standard_layout_v<MsixState>);

// All vectors masked (PCI 3.0 §6.8.2.9). 1 <= vectors <= kMsixMaxVectors.
MsixState make_msix(u16 vectors);
// Adds the capability with its writable bits; table and PBA lie in `bar` at multiples of 8.
u8 add_msix_capability(ConfigSpace& config, u16 vectors, u8 bar, u32 table_offset, u32 pba_offset);

// After each write to the config space: what the function may do now. A function without bus
// mastership cannot send messages (PCI 3.0 §6.2.2, bit 2), so that counts as masked. Unmasking
// sends what is pending; disabling forgets it.
void msix_set_control(MsixState& msix, bool enabled, bool masked, Effects& effects);

// Sends the vector's message, or remembers it while vector or function is masked. Nothing when
// MSI-X is disabled or there is no such vector.
void msix_notify(MsixState& msix, u16 vector, Effects& effects);
// What msix_notify would send and not change the state by; none if it would not send, or would.
std::optional<Msi> msix_message(const MsixState& msix, u16 vector);
void msix_forget_pending(MsixState& msix);

// Accesses at an offset into the table or PBA: aligned, of 4 or 8 bytes (PCI 3.0 §6.8.2); others,
// and what lies behind the end, read as zero and write nothing. The PBA is read-only.
u64 msix_table_read(const MsixState& msix, u64 offset, u8 size);
void msix_table_write(MsixState& msix, u64 offset, u8 size, u64 value, Effects& effects);
u64 msix_pba_read(const MsixState& msix, u64 offset, u8 size);

}  // namespace dvm::vmm
