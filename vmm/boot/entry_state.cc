// Linux Documentation/arch/x86/boot.rst "64-bit Boot Protocol"; Xen docs/misc/pvh.pandoc; bits as
// in Intel SDM vol. 3A §2.2.1 (EFER), §2.5 (CR0, CR4), §3.4.5 (descriptors), §4.5 (4-level paging).
#include "vmm/boot/entry_state.h"

#include <array>

#include "vmm/layout.h"

namespace dvm::vmm {
namespace {

constexpr u64 kCr0Pe = 1u << 0, kCr0Mp = 1u << 1, kCr0Et = 1u << 4, kCr0Ne = 1u << 5;
constexpr u64 kCr0Wp = 1u << 16, kCr0Pg = 1u << 31;
constexpr u64 kCr0CacheOff = 3u << 29;  // CD and NW
constexpr u64 kCr4Pae = 1u << 5;
constexpr u64 kEferLme = 1u << 8, kEferLma = 1u << 10;
constexpr u64 kRflagsReserved = 1u << 1;  // always one

constexpr u64 kPtePresent = 1u << 0, kPteWrite = 1u << 1, kPteHuge = 1u << 7;
constexpr std::size_t kTableEntries = 512;
constexpr u64 kMappedGiB = 4;

// boot.rst: __BOOT_CS is 0x10 and __BOOT_DS is 0x18.
constexpr u16 kCodeSelector = 0x10, kDataSelector = 0x18;
constexpr std::size_t kGdtEntries = 4;

constexpr u8 kTypeLdt = 2, kTypeData = 3, kTypeCode = 11;
constexpr u8 kTypeTssBusy = 11;  // a 32-bit TSS, and a 64-bit one in long mode

// A flat 4 GiB segment, already accessed.
kvm_segment flat(u16 selector, u8 type, bool long_mode) {
  kvm_segment s{};
  s.limit = 0xffff'ffff;
  s.selector = selector;
  s.type = type;
  s.present = 1;
  s.s = 1;
  s.g = 1;
  s.l = long_mode ? 1 : 0;
  s.db = long_mode ? 0 : 1;
  return s;
}

kvm_segment code_segment(EntryMode mode) {
  return flat(kCodeSelector, kTypeCode, mode == EntryMode::long64);
}

kvm_segment data_segment() { return flat(kDataSelector, kTypeData, false); }

// TR and LDTR as after RESET (SDM vol. 3A table 9-1), but TR busy: VM entry demands it.
kvm_segment system_segment(u8 type, u32 limit) {
  kvm_segment s{};
  s.limit = limit;
  s.type = type;
  s.present = 1;
  return s;
}

// The GDT entry for a flat segment: so that a guest which reloads its selectors gets what it had.
u64 descriptor(const kvm_segment& s) {
  const u64 limit = s.g ? s.limit >> 12 : s.limit;
  const u64 access = u64{s.type} | u64{s.s} << 4 | u64{s.dpl} << 5 | u64{s.present} << 7;
  const u64 flags = u64{s.l} << 1 | u64{s.db} << 2 | u64{s.g} << 3;
  return (limit & 0xffff) | access << 40 | (limit >> 16 & 0xf) << 48 | flags << 52;
}

Status write_page_tables(const hyperkernel::GuestMemory& memory) {
  constexpr u64 kPml4 = layout::kBootPageTables;
  constexpr u64 kPdpt = kPml4 + kPageBytes;
  constexpr u64 kFirstPd = kPdpt + kPageBytes;
  std::array<u64, kTableEntries> table{kPdpt | kPtePresent | kPteWrite};
  DVM_TRY(memory.store(kPml4, table));
  table.fill(0);
  for (u64 i = 0; i < kMappedGiB; ++i) {
    table[i] = (kFirstPd + i * kPageBytes) | kPtePresent | kPteWrite;
  }
  DVM_TRY(memory.store(kPdpt, table));
  for (u64 i = 0; i < kMappedGiB; ++i) {
    for (u64 j = 0; j < kTableEntries; ++j) {
      table[j] = (i * kGiB + j * kHugePageBytes) | kPtePresent | kPteWrite | kPteHuge;
    }
    DVM_TRY(memory.store(kFirstPd + i * kPageBytes, table));
  }
  return {};
}

// SDM vol. 3A table 9-1. The code segment's base is what its selector would not give: the first
// far jump takes it away.
void fill_reset_sregs(const EntryState& entry, kvm_sregs& sregs) {
  constexpr u16 kLimit = 0xffff;
  kvm_segment data{};
  data.limit = kLimit;
  data.type = kTypeData;
  data.present = data.s = 1;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  sregs.cs = data;
  sregs.cs.type = kTypeCode;
  sregs.cs.selector = 0xf000;
  sregs.cs.base = entry.rip & ~u64{kLimit};
  sregs.tr = system_segment(kTypeTssBusy, kLimit);
  sregs.ldt = system_segment(kTypeLdt, kLimit);
  sregs.gdt = {};
  sregs.idt = {};
  sregs.gdt.limit = sregs.idt.limit = kLimit;
  sregs.cr0 = kCr0CacheOff | kCr0Et;
  sregs.cr2 = sregs.cr3 = sregs.cr4 = sregs.cr8 = sregs.efer = 0;
}

}  // namespace

Status write_boot_structures(const hyperkernel::GuestMemory& memory, EntryMode mode) {
  if (mode == EntryMode::reset) return {};
  std::array<u64, kGdtEntries> gdt{};
  gdt[kCodeSelector / 8] = descriptor(code_segment(mode));
  gdt[kDataSelector / 8] = descriptor(data_segment());
  DVM_TRY(memory.store(layout::kBootGdt, gdt));
  if (mode == EntryMode::long64) DVM_TRY(write_page_tables(memory));
  return {};
}

void fill_entry_sregs(const EntryState& entry, kvm_sregs& sregs) {
  if (entry.mode == EntryMode::reset) return fill_reset_sregs(entry, sregs);
  const bool long_mode = entry.mode == EntryMode::long64;
  sregs.cs = code_segment(entry.mode);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data_segment();
  sregs.tr = system_segment(kTypeTssBusy, 0x67);
  sregs.ldt = system_segment(kTypeLdt, 0xffff);
  sregs.gdt = {};
  sregs.gdt.base = layout::kBootGdt;
  sregs.gdt.limit = kGdtEntries * sizeof(u64) - 1;
  sregs.idt = {};  // no interrupt is allowed before the kernel loads its own
  sregs.cr0 = kCr0Pe | kCr0Et;
  sregs.cr2 = sregs.cr3 = sregs.cr4 = sregs.cr8 = sregs.efer = 0;
  if (long_mode) {
    sregs.cr0 |= kCr0Mp | kCr0Ne | kCr0Wp | kCr0Pg;
    sregs.cr3 = layout::kBootPageTables;
    sregs.cr4 = kCr4Pae;
    sregs.efer = kEferLme | kEferLma;
  }
}

void fill_entry_regs(const EntryState& entry, kvm_regs& regs) {
  regs = {};
  regs.rip = entry.rip;
  regs.rflags = kRflagsReserved;
  if (entry.mode == EntryMode::reset) {
    regs.rip = entry.rip & 0xffff;  // the rest is in the code segment's base
  } else if (entry.mode == EntryMode::long64) {
    regs.rsi = entry.boot_data;
    regs.rsp = layout::kBootStackTop;
  } else {
    regs.rbx = entry.boot_data;
  }
}

}  // namespace dvm::vmm
