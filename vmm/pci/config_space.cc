#include "vmm/pci/config_space.h"

#include <bit>
#include <cassert>
#include <cstring>

#include "vmm/pci/config_registers.h"

namespace dvm::vmm {
namespace {

constexpr u32 kBarFlags = 0xf;  // low bits of a memory BAR that are no address

u32& dword_at(ConfigSpace& config, u16 offset) { return config.dwords[offset / 4]; }
u32 dword_at(const ConfigSpace& config, u16 offset) { return config.dwords[offset / 4]; }
u16 command(const ConfigSpace& config) { return static_cast<u16>(dword_at(config, pci::kCommand)); }

// All ones of an access's width.
constexpr u32 ones(u8 size) { return size >= 4 ? ~0u : (1u << (size * 8)) - 1; }

bool is_access(u16 offset, u8 size) {
  return (size == 1 || size == 2 || size == 4) && offset % 4 + size <= 4 &&
         offset < kExtendedConfigBytes;
}

// Address bits below the size are hard-wired to zero: how software learns the size (PCI 3.0
// §6.2.5.1, implementation note "Sizing a 32-bit Base Address Register").
u32 bar_mask(const Bar& bar) {
  const u64 address_bits = ~((u64{1} << bar.size_log2) - 1);
  switch (bar.kind) {
    case BarKind::none: return 0;
    case BarKind::mem32:
    case BarKind::mem64:
    case BarKind::io: return static_cast<u32>(address_bits);
    case BarKind::mem64_high: return static_cast<u32>(address_bits >> 32);
  }
  return 0;
}

u32 write_mask(const ConfigSpace& config, u16 offset) {
  switch (offset) {
    case pci::kCommand: return pci::kCommandWritable;
    case pci::kCacheLineSize: return 0xff;
    case pci::kInterruptLine: return 0xff;
    default: break;
  }
  if (offset >= pci::kBar0 && offset < pci::kBar0 + 4 * kPciBars) {
    return bar_mask(config.bars[(offset - pci::kBar0) / 4u]);
  }
  for (u32 i = 0; i < config.writable_count && i < ConfigSpace::kMaxWritable; i++) {
    if (config.writable[i].offset == offset) return config.writable[i].mask;
  }
  return 0;
}

constexpr u16 bar_offset(u32 bar) { return static_cast<u16>(pci::kBar0 + 4 * bar); }

}  // namespace

ConfigSpace make_config_space(const PciIdentity& identity) {
  ConfigSpace config{};
  dword_at(config, pci::kVendorId) = identity.vendor | (u32{identity.device} << 16);
  dword_at(config, pci::kRevision) = identity.revision | (identity.class_code << 8);
  dword_at(config, pci::kSubsystemVendorId) =
      identity.subsystem_vendor | (u32{identity.subsystem} << 16);
  config.next_free = pci::kHeaderEnd;
  return config;
}

void add_bar(ConfigSpace& config, u32 bar, BarKind kind, u64 bytes) {
  assert(bar < kPciBars && std::has_single_bit(bytes) && config.bars[bar].kind == BarKind::none);
  assert(bytes >= (kind == BarKind::io ? 4u : 16u));
  const u8 size_log2 = static_cast<u8>(std::countr_zero(bytes));
  config.bars[bar] = {kind, size_log2};
  u32& value = dword_at(config, bar_offset(bar));
  if (kind == BarKind::io) value = pci::kBarIo;
  if (kind == BarKind::mem64) {
    assert(bar + 1 < kPciBars && config.bars[bar + 1].kind == BarKind::none);
    value = pci::kBarMem64;
    config.bars[bar + 1] = {BarKind::mem64_high, size_log2};
  } else {
    assert(size_log2 < 32);
  }
}

u8 add_capability(ConfigSpace& config, u8 id, std::span<const u8> body) {
  const u8 at = config.next_free;
  const u32 end = at + 2u + static_cast<u32>(body.size());
  assert(at >= pci::kHeaderEnd && end <= kConfigBytes);
  auto* bytes = reinterpret_cast<u8*>(config.dwords.data());
  bytes[at] = id;
  bytes[at + 1] = 0;  // the end of the list
  std::memcpy(bytes + at + 2, body.data(), body.size());
  if (config.last_capability == 0) {
    bytes[pci::kCapabilities] = at;
    dword_at(config, pci::kCommand) |= u32{pci::kStatusCapabilities} << 16;
  } else {
    bytes[config.last_capability + 1] = at;
  }
  config.last_capability = at;
  config.next_free = static_cast<u8>(align_up(end, 4));
  return at;
}

void set_interrupt_pin(ConfigSpace& config, u8 pin) {
  u32& value = dword_at(config, pci::kInterruptLine);
  value = (value & ~0xff00u) | (u32{pin} << 8);
}

void set_dword(ConfigSpace& config, u8 offset, u32 value) {
  assert(offset % 4 == 0 && offset >= pci::kHeaderEnd);
  dword_at(config, offset) = value;
}

void make_writable(ConfigSpace& config, u8 offset, u32 mask) {
  assert(offset % 4 == 0 && offset >= pci::kHeaderEnd);
  assert(config.writable_count < ConfigSpace::kMaxWritable);
  config.writable[config.writable_count++] = {offset, {}, mask};
}

void set_bar_base(ConfigSpace& config, u32 bar, u64 base) {
  assert(bar < kPciBars);
  config_write(config, bar_offset(bar), 4, static_cast<u32>(base));
  if (config.bars[bar].kind == BarKind::mem64) {
    config_write(config, bar_offset(bar + 1), 4, static_cast<u32>(base >> 32));
  }
}

void set_command(ConfigSpace& config, u16 value) { config_write(config, pci::kCommand, 2, value); }

u32 config_read(const ConfigSpace& config, u16 offset, u8 size) {
  if (!is_access(offset, size)) return ones(size);
  if (offset >= kConfigBytes) return 0;
  return (dword_at(config, offset) >> (offset % 4 * 8)) & ones(size);
}

void config_write(ConfigSpace& config, u16 offset, u8 size, u32 value) {
  if (!is_access(offset, size) || offset >= kConfigBytes) return;
  const u32 shift = offset % 4 * 8;
  const u32 mask = write_mask(config, static_cast<u16>(offset & ~3u)) & (ones(size) << shift);
  u32& dword = dword_at(config, offset);
  dword = (dword & ~mask) | ((value << shift) & mask);
}

std::optional<BarWindow> bar_window(const ConfigSpace& config, u32 bar) {
  if (bar >= kPciBars) return std::nullopt;
  const Bar& description = config.bars[bar];
  const u64 bytes = u64{1} << (description.size_log2 & 63);
  u64 base = dword_at(config, bar_offset(bar));
  u64 limit =
      0xffff'ffff;  // the last address the BAR can reach; a window that ends there is sizing
  u16 enable = pci::kCommandMemory;
  switch (description.kind) {
    case BarKind::none:
    case BarKind::mem64_high: return std::nullopt;
    case BarKind::mem32: base &= ~u64{kBarFlags}; break;
    case BarKind::mem64:
      if (bar + 1 >= kPciBars) return std::nullopt;
      base = (base & ~u64{kBarFlags}) | (u64{dword_at(config, bar_offset(bar + 1))} << 32);
      limit = ~u64{0};
      break;
    case BarKind::io:
      base &= ~u64{3};
      limit = 0x1'0000;  // x86 has 64 Ki ports
      enable = pci::kCommandIo;
      break;
  }
  if ((command(config) & enable) == 0 || base == 0 || base >= limit) return std::nullopt;
  if (bytes - 1 >= limit - base) return std::nullopt;
  return BarWindow{description.kind, base, bytes};
}

bool bus_master(const ConfigSpace& config) {
  return (command(config) & pci::kCommandBusMaster) != 0;
}

void set_interrupt_status(ConfigSpace& config, bool pending) {
  constexpr u32 kBit = u32{pci::kStatusInterrupt} << 16;
  u32& value = dword_at(config, pci::kCommand);
  value = pending ? value | kBit : value & ~kBit;
}

bool intx_level(const ConfigSpace& config) {
  const u32 value = dword_at(config, pci::kCommand);
  return (value & (u32{pci::kStatusInterrupt} << 16)) != 0 &&
         (value & pci::kCommandIntxDisable) == 0;
}

}  // namespace dvm::vmm
