#include "vmm/pci/host_bridge.h"

namespace dvm::vmm {
namespace {

// SeaBIOS knows the machine by these ids, and that it runs under a hypervisor by the subsystem.
constexpr PciIdentity kIdentity = {.vendor = 0x8086,
                                   .device = 0x29c0,
                                   .class_code = 0x06'0000,
                                   .revision = 0,
                                   .subsystem_vendor = 0x1af4,
                                   .subsystem = 0x1100};

// PCIEXBAR: bit 0 enables, bits 2:1 = 2 is the smallest window there is, 64 MiB. Only its first bus
// exists; the rest reads as ones.
constexpr u32 kPciexbarEnable = 1u << 0;
constexpr u32 kPciexbar64Mib = 2u << 1;
static_assert(is_aligned(layout::kEcamBase, 64 * kMiB) && layout::kEcamBase < 4 * kGiB);

constexpr u32 kSmramReset = 0x02;  // C_BASE_SEG, hard-wired in the chipset

}  // namespace

ConfigSpace make_host_bridge() {
  ConfigSpace config = make_config_space(kIdentity);
  set_dword(config, kHostBridgePciexbar,
            static_cast<u32>(layout::kEcamBase) | kPciexbar64Mib | kPciexbarEnable);
  make_writable(config, kHostBridgePam0, 0xffff'ffff);      // PAM0..3
  make_writable(config, kHostBridgePam0 + 4, 0x00ff'ffff);  // PAM4..6
  set_dword(config, kHostBridgeSmram & ~3u, kSmramReset << 8);
  make_writable(config, kHostBridgeSmram & ~3u, 0x0000'ff00);
  return config;
}

}  // namespace dvm::vmm
