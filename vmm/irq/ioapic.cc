#include "vmm/irq/ioapic.h"

namespace dvm::vmm {
namespace {

// Register window (§3.1) and indices (§3.2).
constexpr u64 kRegSelect = 0x00;
constexpr u64 kRegWindow = 0x10;
constexpr u64 kWindowEoi = 0x40;  // version 0x20 and later
constexpr u32 kIndexId = 0x00;
constexpr u32 kIndexVersion = 0x01;
constexpr u32 kIndexArbitration = 0x02;
constexpr u32 kIndexTable = 0x10;
constexpr u32 kVersion = 0x20 | ((layout::kIoApicPins - 1u) << 16);

// Redirection entry (§3.2.4).
constexpr u64 kDeliveryStatus = 1u << 12;
constexpr u64 kRemoteIrr = 1u << 14;
constexpr u64 kLevel = 1u << 15;
constexpr u64 kMasked = 1u << 16;
constexpr u64 kReadOnly = kDeliveryStatus | kRemoteIrr;

void send(IoApicState& s, u32 pin, IoApicMessages& out) {
  u64& entry = s.redirection[pin];
  InterruptMessage m;
  m.destination = widen_destination(static_cast<u8>(entry >> 56));
  m.logical = (entry >> 11) & 1;
  m.vector = static_cast<u8>(entry);
  m.mode = static_cast<DeliveryMode>((entry >> 8) & 7);
  m.level_triggered = (entry & kLevel) != 0;
  if (m.level_triggered) entry |= kRemoteIrr;
  out.messages[out.count++] = m;
}

void send_if_level_pending(IoApicState& s, u32 pin, IoApicMessages& out) {
  const u64 entry = s.redirection[pin];
  if ((entry & kLevel) != 0 && (entry & (kMasked | kRemoteIrr)) == 0 && s.asserted[pin] != 0)
    send(s, pin, out);
}

void write_table(IoApicState& s, u32 index, u32 value, IoApicMessages& out) {
  const u32 pin = (index - kIndexTable) / 2;
  if (pin >= layout::kIoApicPins) return;
  u64& entry = s.redirection[pin];
  if (index % 2 == 1) {
    entry = (entry & 0xffff'ffffu) | (static_cast<u64>(value) << 32);
  } else {
    entry = (entry & (0xffff'ffff'0000'0000u | kReadOnly)) | (value & ~kReadOnly & 0x1ffff);
    if ((entry & kLevel) == 0) entry &= ~kRemoteIrr;  // how Linux clears a stuck remote IRR
  }
  send_if_level_pending(s, pin, out);
}

}  // namespace

IoApicState ioapic_reset_state() {
  IoApicState s;
  s.redirection.fill(kMasked);
  return s;
}

u32 ioapic_read(const IoApicState& s, u64 offset) {
  if (offset == kRegSelect) return s.select;
  if (offset != kRegWindow) return 0;
  if (s.select == kIndexId || s.select == kIndexArbitration) return s.id << 24;
  if (s.select == kIndexVersion) return kVersion;
  if (s.select < kIndexTable || (s.select - kIndexTable) / 2 >= layout::kIoApicPins) return 0;
  const u64 entry = s.redirection[(s.select - kIndexTable) / 2];
  return static_cast<u32>(s.select % 2 == 1 ? entry >> 32 : entry);
}

IoApicMessages ioapic_write(IoApicState& s, u64 offset, u32 value) {
  IoApicMessages out;
  if (offset == kRegSelect) s.select = value & 0xff;
  if (offset == kWindowEoi) return ioapic_eoi(s, static_cast<u8>(value));
  if (offset != kRegWindow) return out;
  if (s.select == kIndexId) s.id = (value >> 24) & 0xf;
  if (s.select >= kIndexTable) write_table(s, s.select, value, out);
  return out;
}

IoApicMessages ioapic_set_line(IoApicState& s, u8 pin, u8 source, bool high) {
  IoApicMessages out;
  if (pin >= layout::kIoApicPins || source >= 32) return out;
  const u32 before = s.asserted[pin];
  const u32 bit = 1u << source;
  s.asserted[pin] = high ? before | bit : before & ~bit;
  const u64 entry = s.redirection[pin];
  const bool rising = before == 0 && s.asserted[pin] != 0;
  if ((entry & kLevel) != 0) {
    send_if_level_pending(s, pin, out);
  } else if (rising && (entry & kMasked) == 0) {
    send(s, pin, out);
  }
  return out;
}

IoApicMessages ioapic_eoi(IoApicState& s, u8 vector) {
  IoApicMessages out;
  for (u32 pin = 0; pin < layout::kIoApicPins; ++pin) {
    u64& entry = s.redirection[pin];
    if ((entry & kLevel) == 0 || static_cast<u8>(entry) != vector) continue;
    entry &= ~kRemoteIrr;
    send_if_level_pending(s, pin, out);
  }
  return out;
}

IoApicMessages ioapic_resend(const IoApicState& s) {
  IoApicMessages out;
  IoApicState scratch = s;
  for (u32 pin = 0; pin < layout::kIoApicPins; ++pin) {
    const u64 entry = s.redirection[pin];
    const bool level = (entry & kLevel) != 0;
    const bool decided = level ? (entry & kRemoteIrr) != 0 : s.asserted[pin] != 0;
    if ((entry & kMasked) == 0 && decided) send(scratch, pin, out);
  }
  return out;
}

}  // namespace dvm::vmm
