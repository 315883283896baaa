// From a KVM exit record to what it does to the machine: one function, tested with fabricated
// exits.
#pragma once

#include "vmm/machine.h"

namespace dvm::vmm {

enum class ExitOutcome {
  go_on,         // enter the guest again
  halted,        // HLT: sleep until an interrupt
  apic_base,     // IA32_APIC_BASE changed: KVM's copy must follow
  triple_fault,  // the machine has been told
  debug,         // a debug exception or INT3 that a debugger had asked for
  failed,        // KVM cannot go on; `why` says so
};

struct ExitResult {
  ExitOutcome outcome = ExitOutcome::go_on;
  std::string why;
};

// `run` is as KVM left it; answers (port and MMIO reads, MSRs) are written into it. In the vCPU's
// journal, if the machine is protected. Thread: the vCPU's own.
ExitResult handle_exit(Machine& machine, u32 vcpu, kvm_run& run, u64 run_bytes);
// The same for an exit in whose handling its thread died: none of its operations is repeated and
// none left out (vcpu_journal.h). Thread: any one, once the dead node has been fenced; idempotent,
// as who does it may die as well.
ExitResult finish_handling(Machine& machine, u32 vcpu, kvm_run& run, u64 run_bytes);

}  // namespace dvm::vmm
