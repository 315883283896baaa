// All of a vCPU that KVM knows, as it lies in the pool between the node that gave it up and the one
// that takes it (vcpu_place.h). Its local APIC, its timer and its inbox are in the pool anyway.
//
// Written by the source's thread while the place is `ready`, read by the target's once it is
// `arriving`. A source that dies while it writes has not committed: nobody reads it.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include "fabric/result.h"
#include "fabric/types.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

inline constexpr u32 kVcpuStateVersion = 2;
inline constexpr u32 kMaxStateMsrs = 256;
inline constexpr u32 kFpuBytes = 4096;  // kvm_xsave, or kvm_fpu on a CPU without XSAVE
inline constexpr u32 kNoWaitingVector = 256;

// VcpuState::parts.
inline constexpr u32 kPartXsave = 1, kPartXcrs = 2, kPartPdptrs = 4;

struct alignas(64) VcpuState {
  u32 version;
  u32 bytes;     // of it that mean something: up to the last MSR
  u32 checksum;  // CRC-32C of what follows, up to there, less what of `fpu` is not used
  u32 vcpu;
  u32 injection;  // vmm::Injection of the source: where interrupts on their way are
  u32 parts;
  u32 mp_state;
  u32 halted;  // in a HLT that KVM told us of (queued injection)
  u32 ready;   // kvm_run::ready_for_interrupt_injection
  u32 vector;  // given to KVM and not taken into the guest yet; kNoWaitingVector: none
  u64 tsc_offset;
  kvm_regs regs;
  kvm_sregs2 sregs;  // IA32_APIC_BASE is the guest's
  kvm_debugregs debug;
  kvm_xcrs xcrs;
  kvm_vcpu_events events;
  alignas(64) std::array<u8, kFpuBytes> fpu;
  // As KVM_GET_MSRS has it: count, padding, entries.
  u32 msr_count;
  u32 reserved;
  std::array<kvm_msr_entry, kMaxStateMsrs> msrs;
};
static_assert(std::is_trivially_copyable_v<VcpuState> && sizeof(kvm_sregs2) == 320 &&
              sizeof(kvm_debugregs) == 128 && sizeof(kvm_xcrs) == 392 &&
              sizeof(kvm_vcpu_events) == 64 && sizeof(kvm_msr_entry) == 16);
static_assert(offsetof(VcpuState, regs) == 48 && offsetof(VcpuState, fpu) == 1152 &&
              offsetof(VcpuState, msr_count) == 1152 + kFpuBytes &&
              offsetof(VcpuState, msrs) == offsetof(VcpuState, msr_count) + 8);
static_assert(sizeof(VcpuState) == 9408);

// The last step of saving: its length and checksum.
void seal_vcpu_state(VcpuState& state, u32 vcpu);
// What of it means something, out of a pool that may change meanwhile.
void copy_meaningful(const VcpuState& pooled, VcpuState& copy);
// What whoever loads it looks at first. `state` is a copy: what is in the pool may change.
Status check_vcpu_state(const VcpuState& state, u32 vcpu, u32 injection);

}  // namespace dvm::vmm
