// All guest state but RAM, as it is at one instant: what an epoch begins with (epoch_record.h), or
// what is left when the power of the whole machine has failed (resume_record.h).
#pragma once

#include "vmm/machine_state.h"

namespace dvm::vmm {

// A vCPU that stands still: KVM's part, by its thread; ours, by fill_bank.
struct VcpuBank {
  VcpuState state;
  LapicState lapic;
  std::array<u32, 18> inbox;  // LapicInbox: IRR, TMR, signals, LINT0
  KvmClockState clock;
  u32 started;
  u32 interruptible_halt;
};

// Which instant it is: the beginning of that epoch, whose number in the undo log is `log`. 0: none.
struct BankName {
  u32 epoch = 0;
  u32 log = 0;
};

struct GuestBank {
  // All cells' states, one after the other, each at a multiple of 8.
  static constexpr u64 kDeviceBytes =
      kMaxFunctions * (sizeof(VirtioPciState) + kMaxVirtioQueues * (sizeof(QueueState) + 8) + 8) +
      64 * kKiB;
  u64 boot;          // which of the machine's; 0: nothing is here
  u64 guest_tsc;     // when it was taken
  u64 device_bytes;  // used
  BankName name;
  u32 checksum;  // CRC-32C of all that means something
  u32 reserved;
  std::array<VcpuBank, layout::kMaxVcpus> vcpus;
  alignas(8) std::array<std::byte, kDeviceBytes> devices;
};

// Devices, inboxes and local APICs, and the checksum of all; KVM's part of each vCPU is there
// already. The caller has all cells' locks, and no vCPU runs.
void fill_bank(const MachineState& machine, GuestBank& bank, u64 guest_tsc, BankName name = {});
// Whether it is one that can be put back: written by us for this machine, and whole.
Status check_bank(const MachineState& machine, const GuestBank& bank);
// The other way, all but `VcpuBank::state`. Chains that the bank has in somebody's hands are
// nobody's that lives (`dead_holder`, a QueueState::holder): their requests are made again. Any
// number of times. The caller as above. Precondition: check_bank.
void restore_bank(MachineState& machine, const GuestBank& bank, u8 dead_holder);

}  // namespace dvm::vmm
