// How the boot processor enters the guest's kernel: pure values for the vCPU's registers, and the
// tables in guest memory which those registers point to.
#pragma once

#include "fabric/result.h"
#include "fabric/types.h"
#include "hyperkernel/guest_memory.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

enum class EntryMode {
  long64,       // Linux's 64-bit boot protocol: paging on, the first 4 GiB mapped one to one
  protected32,  // PVH: flat 32-bit protected mode, no paging
  reset,        // firmware: real mode at the reset vector
};
inline constexpr u32 kLastEntryMode = static_cast<u32>(EntryMode::reset);

struct EntryState {
  EntryMode mode = EntryMode::long64;
  u64 rip = 0;
  u64 boot_data = 0;  // long64: boot_params, in RSI; protected32: hvm_start_info, in EBX

  bool operator==(const EntryState&) const = default;
};

// The GDT and, for long64, the page tables. Nothing for reset: the firmware has its own.
Status write_boot_structures(const hyperkernel::GuestMemory& memory, EntryMode mode);

// Sets all that decides how the CPU runs, whatever was there before; keeps apic_base (the local
// APIC's) and interrupt_bitmap.
void fill_entry_sregs(const EntryState& entry, kvm_sregs& sregs);
void fill_entry_regs(const EntryState& entry, kvm_regs& regs);

}  // namespace dvm::vmm
