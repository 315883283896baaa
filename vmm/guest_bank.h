// Guest state between the machine's record and a bank of an epoch's (epoch_record.h). The caller
// has all cells' locks, and no vCPU runs.
#pragma once

#include "vmm/epoch_record.h"

namespace dvm::vmm {

// Devices, inboxes and local APICs; KVM's part of each vCPU is there already.
void fill_bank(const MachineState& machine, GuestBank& bank, u64 guest_tsc);
// Whether it is one that can be put back: written by us, and whole.
Status check_bank(const MachineState& machine, const GuestBank& bank);
// The other way. Chains that the bank has in somebody's hands are nobody's that lives
// (`dead_holder`, a QueueState::holder): their requests are made again. Any number of times.
// Precondition: check_bank.
void restore_bank(MachineState& machine, const GuestBank& bank, u8 dead_holder);

}  // namespace dvm::vmm
