// PV EOI (Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN), run by us because the
// in-kernel one belongs to one KVM VM: while a bit in guest memory is set, the guest clears it
// instead of writing the EOI register. Only when no other interrupt waits for that EOI.
//
// LapicState::pv_eoi_armed says how far it is, so that it is finished for a thread that was killed
// in it (vcpu_journal.h). Thread: the vCPU's own, out of the guest; after its death any one.
#pragma once

#include "vmm/machine.h"

namespace dvm::vmm {

void pv_eoi_before_entry(Machine& machine, u32 vcpu);
void pv_eoi_after_exit(Machine& machine, u32 vcpu);

}  // namespace dvm::vmm
