#include "vmm/pci/msix.h"

#include <cassert>

#include "vmm/pci/config_registers.h"

namespace dvm::vmm {
namespace {

bool is_access(u64 offset, u8 size, u64 bytes) {
  return (size == 4 || size == 8) && offset % size == 0 && offset < bytes;
}

u64 table_bytes(const MsixState& msix) { return u64{msix.vectors} * sizeof(MsixEntry); }

constexpr std::array<u32 MsixEntry::*, 4> kFields = {&MsixEntry::address_low,
                                                     &MsixEntry::address_high, &MsixEntry::data,
                                                     &MsixEntry::vector_control};
u32 MsixEntry::*field_at(u64 offset) { return kFields[offset % sizeof(MsixEntry) / 4]; }

u32 writable_bits(u64 offset) {
  switch (offset % sizeof(MsixEntry)) {
    case 0: return ~3u;  // a doubleword address
    case 12: return kMsixVectorMasked;
    default: return ~0u;
  }
}

// Sends every pending message that may go. What Effects cannot hold stays pending.
void send_pending(MsixState& msix, Effects& effects) {
  if (msix.enabled == 0 || msix.masked != 0) return;
  for (u32 v = 0; v < msix.vectors && effects.msi_count < effects.msi.size(); v++) {
    const MsixEntry& entry = msix.table[v];
    if ((msix.pending & (1u << v)) == 0 || (entry.vector_control & kMsixVectorMasked) != 0)
      continue;
    msix.pending &= ~(1u << v);
    effects.raise_msi({entry.address_low | (u64{entry.address_high} << 32), entry.data});
  }
}

}  // namespace

MsixState make_msix(u16 vectors) {
  assert(vectors >= 1 && vectors <= kMsixMaxVectors);
  MsixState msix{};
  msix.vectors = vectors;
  for (MsixEntry& entry : msix.table) entry.vector_control = kMsixVectorMasked;
  return msix;
}

u8 add_msix_capability(ConfigSpace& config, u16 vectors, u8 bar, u32 table_offset, u32 pba_offset) {
  assert(table_offset % 8 == 0 && pba_offset % 8 == 0 && bar < kPciBars);
  std::array<u8, 10> body{};
  const auto put32 = [&body](u32 at, u32 value) {
    for (u32 i = 0; i < 4; i++) body[at + i] = static_cast<u8>(value >> (8 * i));
  };
  body[0] = static_cast<u8>(vectors - 1);  // table size, encoded as N - 1
  put32(2, table_offset | bar);
  put32(6, pba_offset | bar);
  const u8 at = add_capability(config, pci::kCapabilityMsix, body);
  make_writable(config, at, u32{kMsixControlEnable | kMsixControlFunctionMask} << 16);
  return at;
}

void msix_set_control(MsixState& msix, bool enabled, bool masked, Effects& effects) {
  msix.enabled = enabled ? 1 : 0;
  msix.masked = masked ? 1 : 0;
  if (!enabled) msix.pending = 0;
  send_pending(msix, effects);
}

void msix_notify(MsixState& msix, u16 vector, Effects& effects) {
  if (msix.enabled == 0 || vector >= msix.vectors) return;
  msix.pending |= 1u << vector;
  send_pending(msix, effects);
}

std::optional<Msi> msix_message(const MsixState& msix, u16 vector) {
  if (msix.enabled == 0 || msix.masked != 0 || vector >= msix.vectors || msix.pending != 0)
    return std::nullopt;
  const MsixEntry& entry = msix.table[vector];
  if ((entry.vector_control & kMsixVectorMasked) != 0) return std::nullopt;
  return Msi{entry.address_low | (u64{entry.address_high} << 32), entry.data};
}

void msix_forget_pending(MsixState& msix) { msix.pending = 0; }

u64 msix_table_read(const MsixState& msix, u64 offset, u8 size) {
  if (!is_access(offset, size, table_bytes(msix))) return 0;
  const MsixEntry& entry = msix.table[offset / sizeof(MsixEntry)];
  const u64 low = entry.*field_at(offset);
  return size == 4 ? low : low | (u64{entry.*field_at(offset + 4)} << 32);
}

void msix_table_write(MsixState& msix, u64 offset, u8 size, u64 value, Effects& effects) {
  if (!is_access(offset, size, table_bytes(msix))) return;
  for (u64 at = offset; at < offset + size; at += 4, value >>= 32) {
    msix.table[at / sizeof(MsixEntry)].*field_at(at) = static_cast<u32>(value) & writable_bits(at);
  }
  send_pending(msix, effects);
}

u64 msix_pba_read(const MsixState& msix, u64 offset, u8 size) {
  constexpr u64 kPbaBytes = 8;  // one quadword covers kMsixMaxVectors
  static_assert(kMsixMaxVectors <= 64);
  if (!is_access(offset, size, kPbaBytes)) return 0;
  return offset == 0 ? msix.pending : 0;
}

}  // namespace dvm::vmm
