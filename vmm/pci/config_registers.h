// The type 0 configuration header: offsets and bits (PCI Local Bus 3.0 §6.1, §6.2).
#pragma once

#include "fabric/types.h"

namespace dvm::vmm::pci {

inline constexpr u16 kVendorId = 0x00;
inline constexpr u16 kDeviceId = 0x02;
inline constexpr u16 kCommand = 0x04;
inline constexpr u16 kStatus = 0x06;
inline constexpr u16 kRevision = 0x08;  // and the class code above it
inline constexpr u16 kCacheLineSize = 0x0c;
inline constexpr u16 kBar0 = 0x10;
inline constexpr u16 kSubsystemVendorId = 0x2c;
inline constexpr u16 kSubsystemId = 0x2e;
inline constexpr u16 kCapabilities = 0x34;
inline constexpr u16 kInterruptLine = 0x3c;
inline constexpr u16 kInterruptPin = 0x3d;
inline constexpr u16 kHeaderEnd = 0x40;  // device-specific from here on

// Command register (PCI 3.0 §6.2.2).
inline constexpr u16 kCommandIo = 1u << 0;
inline constexpr u16 kCommandMemory = 1u << 1;
inline constexpr u16 kCommandBusMaster = 1u << 2;
inline constexpr u16 kCommandIntxDisable = 1u << 10;
inline constexpr u16 kCommandWritable =
    kCommandIo | kCommandMemory | kCommandBusMaster | kCommandIntxDisable;

// Status register (PCI 3.0 §6.2.3). The error bits, which are cleared by writing ones, are never
// set.
inline constexpr u16 kStatusInterrupt = 1u << 3;
inline constexpr u16 kStatusCapabilities = 1u << 4;

// The read-only low bits of a base address register (PCI 3.0 §6.2.5.1).
inline constexpr u32 kBarIo = 1u << 0;
inline constexpr u32 kBarMem64 = 2u << 1;

// Capability ids (PCI 3.0 appendix H).
inline constexpr u8 kCapabilityVendor = 0x09;
inline constexpr u8 kCapabilityMsix = 0x11;

}  // namespace dvm::vmm::pci
