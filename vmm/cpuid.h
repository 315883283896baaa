// The CPU model the guest sees: what KVM supports, less what cannot be kept across nodes, with the
// topology of this machine. Recorded once in the pool; each vCPU gets it with its own APIC id.
#pragma once

#include <span>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

// From KVM_GET_SUPPORTED_CPUID to the machine's model. Pure.
//  - x2APIC, TSC-deadline timer and hypervisor bits on; MONITOR, SVM and VMX off
//  - invariant TSC and ARAT on: one TSC offset on all nodes, a timer that never stops
//  - KVM's paravirtual features off but for two: no I/O delay, and PV EOI, which dvm runs itself
//    (kvmclock, async page faults, steal time, PV IPI, PV unhalt keep state in one KVM VM each)
//  - one package of `vcpus` cores, one thread each
std::vector<kvm_cpuid_entry2> make_cpu_model(std::span<const kvm_cpuid_entry2> supported, u32 vcpus,
                                             u64 tsc_khz);

// The model as vCPU `id` sees it (APIC ids in leaves 1, 0xb, 0x1f, 0x8000001e).
std::vector<kvm_cpuid_entry2> cpuid_for_vcpu(std::span<const kvm_cpuid_entry2> model, u32 id);

// Whether a host that offers `supported` can run `model`: every feature bit of the model that is
// the host's to give is there. The error names the leaf and the bits that are missing.
Status check_cpu_offers(std::span<const kvm_cpuid_entry2> supported,
                        std::span<const kvm_cpuid_entry2> model);

}  // namespace dvm::vmm
