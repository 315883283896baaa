#include "vmm/irq/message.h"

namespace dvm::vmm {

InterruptMessage decode_icr(u64 icr, bool x2apic) {
  InterruptMessage m;
  const u32 high = static_cast<u32>(icr >> 32);
  m.destination = x2apic ? high : widen_destination(static_cast<u8>(high >> 24));
  m.vector = static_cast<u8>(icr);
  m.mode = static_cast<DeliveryMode>((icr >> 8) & 7);
  m.logical = (icr >> 11) & 1;
  m.level_asserted = (icr >> 14) & 1;
  m.level_triggered = (icr >> 15) & 1;
  m.shorthand = static_cast<Shorthand>((icr >> 18) & 3);
  // Only INIT has a de-assert form; the level bit means nothing to the other modes (§11.6.1).
  if (m.mode != DeliveryMode::init) {
    m.level_asserted = true;
    m.level_triggered = false;
  } else if (!m.level_triggered) {
    m.level_asserted = true;
  }
  return m;
}

InterruptMessage decode_msi(const Msi& msi) {
  InterruptMessage m;
  m.destination = widen_destination(static_cast<u8>(msi.address >> 12));
  m.logical = (msi.address >> 2) & 1;
  m.vector = static_cast<u8>(msi.data);
  m.mode = static_cast<DeliveryMode>((msi.data >> 8) & 7);
  m.level_triggered = (msi.data >> 15) & 1;
  return m;
}

}  // namespace dvm::vmm
