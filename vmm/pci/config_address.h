// Which function and register a configuration access means: by the ports 0xcf8/0xcfc (PCI Local Bus
// 3.0 §3.2.2.3.2, configuration mechanism #1) or by memory (PCI Express Base 3.0 §7.2.2, ECAM).
#pragma once

#include <optional>

#include "fabric/types.h"

namespace dvm::vmm {

struct ConfigAddress {
  u8 bus;
  u8 device;    // 0..31
  u8 function;  // 0..7
  u16 reg;      // byte offset in the function's configuration space

  friend constexpr bool operator==(const ConfigAddress&, const ConfigAddress&) = default;
};

// CONFIG_ADDRESS: bit 31 enable, 23:16 bus, 15:11 device, 10:8 function, 7:2 register.
inline constexpr u32 kConfigAddressEnable = 1u << 31;
inline constexpr u32 kConfigAddressWritable = 0x80ff'fffc;

// `config_address` is what was written to 0xcf8, `port_offset` the accessed port minus 0xcfc
// (0..3). Nothing when the address register does not enable configuration cycles.
constexpr std::optional<ConfigAddress> decode_config_ports(u32 config_address, u8 port_offset) {
  if ((config_address & kConfigAddressEnable) == 0 || port_offset > 3) return std::nullopt;
  return ConfigAddress{static_cast<u8>(config_address >> 16),
                       static_cast<u8>((config_address >> 11) & 31),
                       static_cast<u8>((config_address >> 8) & 7),
                       static_cast<u16>((config_address & 0xfc) | port_offset)};
}

// `offset` from the ECAM base: 27:20 bus, 19:15 device, 14:12 function, 11:0 register.
constexpr ConfigAddress decode_ecam(u64 offset) {
  return {static_cast<u8>(offset >> 20), static_cast<u8>((offset >> 15) & 31),
          static_cast<u8>((offset >> 12) & 7), static_cast<u16>(offset & 0xfff)};
}

}  // namespace dvm::vmm
