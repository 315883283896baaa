#include "vmm/page_walk.h"

namespace dvm::vmm {
namespace {

constexpr u64 kCr0Paging = 1u << 31;
constexpr u64 kCr4LargePages = 1u << 4, kCr4Pae = 1u << 5, kCr4FiveLevels = 1u << 12;
constexpr u64 kEferLongModeActive = 1u << 10;
constexpr u64 kPresent = 1, kUser = 1u << 2, kLarge = 1u << 7;
constexpr u64 kFrameMask = 0x000f'ffff'ffff'f000;

// Tables of 2^index_bits entries of `entry_bytes`; the lowest has index bits from bit 12 on.
struct Format {
  u32 levels;
  u32 index_bits;
  u32 entry_bytes;
  u32 top_index_bits;  // of the highest table
  u32 large_levels;    // tables above the lowest whose entries may be pages
};

Format format_of(const PagingState& s) {
  if ((s.cr4 & kCr4Pae) == 0) return {2, 10, 4, 10, (s.cr4 & kCr4LargePages) != 0 ? 1u : 0u};
  if ((s.efer & kEferLongModeActive) == 0) return {3, 9, 8, 2, 1};
  return (s.cr4 & kCr4FiveLevels) != 0 ? Format{5, 9, 8, 9, 2} : Format{4, 9, 8, 9, 2};
}

Result<u64> read_entry(const hyperkernel::GuestMemory& memory, u64 gpa, u32 bytes) {
  if (bytes == 8) return memory.load<u64>(gpa);
  DVM_ASSIGN(const u32 entry, memory.load<u32>(gpa));
  return u64{entry};
}

u64 low_bits(u64 value, u32 bits) { return value & ((u64{1} << bits) - 1); }

// PSE-36 (§4.3): bits 13 to 20 of a 4 MiB page's entry are bits 32 to 39 of its address.
u64 large_frame(u64 entry, const Format& format, u32 shift) {
  if (format.entry_bytes == 4) return (entry & 0xffc0'0000) | (entry >> 13 & 0xff) << 32;
  return (entry & kFrameMask) >> shift << shift;
}

// PAE's four entries have no rights (§4.4.1).
bool is_pae_root(const Format& format, u32 level) { return format.levels == 3 && level == 2; }

u64 table_of(u64 cr3, const PagingState& s, const Format& format) {
  if (format.entry_bytes == 4) return cr3 & 0xffff'f000;
  return (s.efer & kEferLongModeActive) != 0 ? cr3 & kFrameMask : cr3 & 0xffff'ffe0;
}

}  // namespace

Result<Translation> walk_page_tables(const hyperkernel::GuestMemory& memory, const PagingState& s,
                                     u64 address) {
  if ((s.efer & kEferLongModeActive) == 0) address &= 0xffff'ffff;
  if ((s.cr0 & kCr0Paging) == 0) return Translation{address, false};
  const Format format = format_of(s);
  u64 table = table_of(s.cr3, s, format);
  bool user = true;
  for (u32 level = format.levels; level-- > 0;) {
    const u32 shift = 12 + level * format.index_bits;
    const u32 bits = level + 1 == format.levels ? format.top_index_bits : format.index_bits;
    DVM_ASSIGN(const u64 entry,
               read_entry(memory, table + low_bits(address >> shift, bits) * format.entry_bytes,
                          format.entry_bytes));
    if ((entry & kPresent) == 0) return error("guest address {:#x} is not mapped", address);
    if (!is_pae_root(format, level)) user &= (entry & kUser) != 0;
    const bool large = level != 0 && level <= format.large_levels && (entry & kLarge) != 0;
    if (large)
      return Translation{large_frame(entry, format, shift) | low_bits(address, shift), user};
    table = format.entry_bytes == 4 ? entry & 0xffff'f000 : entry & kFrameMask;
  }
  return Translation{table | low_bits(address, 12), user};
}

}  // namespace dvm::vmm
