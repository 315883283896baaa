// The port where SeaBIOS writes its log, a byte at a time (QEMU's isa-debugcon; SeaBIOS
// src/hw/serialio.c, "QEMU debug port"). SeaBIOS asks first whether somebody listens: if not, it
// writes nothing, which saves an exit for each character.
#pragma once

#include "fabric/types.h"

namespace dvm::vmm {

inline constexpr u8 kDebugPortListens = 0xe9;

// Where the bytes go is a ring (FirmwareLog): what finds no room there is lost, and the guest is
// never held up.
struct DebugPortState {
  u64 written = 0;  // bytes put into the ring
  u64 lost = 0;
};
static_assert(sizeof(DebugPortState) == 16);

}  // namespace dvm::vmm
