// An interrupt on its way to local APICs, whoever sent it: IPI, IOAPIC or MSI.
#pragma once

#include "vmm/effects.h"

namespace dvm::vmm {

// Intel SDM vol. 3A §11.6.1 (ICR) and §11.11.2 (MSI data); IOAPIC redirection entries use the same.
enum class DeliveryMode : u8 {
  fixed = 0,
  lowest_priority = 1,
  smi = 2,
  nmi = 4,
  init = 5,
  sipi = 6,
  ext_int = 7
};
enum class Shorthand : u8 { none = 0, self = 1, all = 2, all_but_self = 3 };

struct InterruptMessage {
  u32 destination = 0;  // APIC id, or a logical destination; 0xffffffff (x2APIC) is everyone
  bool logical = false;
  bool level_triggered = false;
  bool level_asserted = true;  // an INIT with this clear is the old "INIT level de-assert": ignored
  DeliveryMode mode = DeliveryMode::fixed;
  u8 vector = 0;
  Shorthand shorthand = Shorthand::none;
};

// 8-bit destinations of xAPIC, IOAPIC and MSI: 0xff is everyone.
constexpr u32 widen_destination(u8 destination) {
  return destination == 0xff ? 0xffff'ffffu : destination;
}

InterruptMessage decode_icr(u64 icr, bool x2apic);
InterruptMessage decode_msi(const Msi& msi);

}  // namespace dvm::vmm
