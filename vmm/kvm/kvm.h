// KVM's descriptors: system, VM and vCPU. The rim: every ioctl of the project goes through here and
// an error names the request.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "fabric/fd.h"
#include "fabric/mapping.h"
#include "hyperkernel/guest_memory.h"
#include "vmm/kvm/kvm_api.h"
#include "vmm/kvm/vcpu_stats.h"

namespace dvm::vmm {

// ioctl on `fd`; EINTR is an error like any other. `name` is the request's, for messages.
Result<int> kvm_ioctl(const Fd& fd, unsigned long request, const char* name,
                      void* argument = nullptr);
Result<int> kvm_ioctl(const Fd& fd, unsigned long request, const char* name,
                      unsigned long argument);

// How an interrupt that we inject gets into the guest.
enum class Injection {
  // No local APIC of KVM's. KVM takes what it is delivering for another one waiting behind it, and
  // interrupts itself: one exit more for each interrupt.
  queued,
  // By the ExtINT input of a local APIC of KVM's (a split irqchip) that the guest cannot reach: it
  // stands where RAM is. A HLT then waits in KVM.
  external,
};
// External, but on Intel: a page for APIC accesses there catches the guest's EOI at 0xfee000b0, and
// the deadline timer of the VMX has a path of its own past our MSR filter.
Injection host_injection();

class Vcpu {
 public:
  const Fd& fd() const { return fd_; }
  Injection injection() const { return injection_; }
  kvm_run& run() { return *reinterpret_cast<kvm_run*>(run_.data()); }
  u64 run_bytes() const { return run_.size(); }

  // Enters the guest. 0, or the errno of a run that was interrupted (EINTR, EAGAIN); other failures
  // are errors.
  Result<int> enter();
  Result<kvm_regs> regs() const;
  Status set_regs(kvm_regs regs);
  Result<kvm_sregs> sregs() const;  // IA32_APIC_BASE is what was set last
  Status set_sregs(kvm_sregs sregs);
  Result<kvm_sregs2> sregs2() const;  // as sregs
  Status set_sregs2(kvm_sregs2 sregs);
  Status set_cpuid(std::vector<kvm_cpuid_entry2> entries);
  // Guest TSC = host TSC + offset. Never by writing IA32_TSC, which KVM may take for
  // synchronisation.
  Status set_tsc_offset(u64 offset);
  Result<u64> tsc_offset() const;
  Result<u64> msr(u32 index) const;
  Result<u64> tsc_khz() const;
  Status inject_interrupt(u8 vector);  // precondition: ready_for_interrupt_injection
  // External injection: a vector that was given and that the guest has not taken yet. KVM does not
  // tell; to find out one more may have been given, so the vCPU may only go on when
  // VcpuTransfer::prepare has driven that out.
  Result<std::optional<u8>> take_waiting_vector();
  // Gives a vector that may have been given already: then it is left at that. False: KVM refuses.
  bool give_again(u8 vector);
  bool vector_may_wait() const { return given_.has_value(); }
  void no_vector_waits() { given_.reset(); }
  // From now on it is known of each vector whether the guest has taken it: by KVM's count of them,
  // which costs a system call for each. Then take_waiting_vector takes nothing away.
  Status follow_vectors();
  bool follows_vectors() const { return follows_vectors_; }
  Status inject_nmi();
  // Maps guest memory as if the guest had read it; stops where it cannot. False: KVM cannot at all.
  bool pre_fault(u64 gpa, u64 bytes);
  Result<kvm_fpu> fpu() const;
  Status set_fpu(kvm_fpu fpu);
  Status set_guest_debug(kvm_guest_debug debug);
  // #DB or #BP, that the guest itself brought about.
  Status inject_debug_exception(u8 vector);
  Status inject_double_fault();  // in place of whatever was about to be delivered
  // External injection: whether KVM has it wait in a HLT. Its own thread, outside the guest.
  Result<bool> halted() const;
  Status end_halt();
  Result<u32> mp_state() const;
  Status set_mp_state(u32 state);  // external injection; else KVM keeps none
  const VcpuStats& stats() const { return stats_; }

 private:
  friend class Vm;
  Status hide_apic();
  u64 kvm_apic_base(u64 guest) const;  // where KVM's own APIC is to be
  Fd fd_;
  Mapping run_;
  VcpuStats stats_;
  Injection injection_ = Injection::queued;
  std::optional<u8> given_;  // external injection: the last vector
  u64 given_at_ = 0;         // KVM's count of injections then
  bool follows_vectors_ = false;
  u64 apic_base_ = 0;  // the guest's; KVM's own APIC stays where it is
};

// One VM of this process. Threads: set-up by one; each Vcpu by its own thread.
class Vm {
 public:
  static Result<Vm> create(Injection injection = host_injection());
  Status map_memory(const hyperkernel::GuestMemory& memory);
  // The last `bytes` before 4 GiB, read-only: a write there comes as an MMIO exit.
  Status map_rom(const hyperkernel::GuestMemory& rom, u64 bytes);
  Result<Vcpu> create_vcpu(u32 id);
  // One that was made before it is needed, for who needs it: once.
  void keep_ahead(u32 id, Vcpu vcpu) { ahead_.emplace(id, std::move(vcpu)); }
  std::optional<Vcpu> made_ahead(u32 id);
  // A write of any size at `gpa` adds 1 to the eventfd, and is no exit. Threads: any.
  Status add_ioeventfd(u64 gpa, const Fd& eventfd);
  Status remove_ioeventfd(u64 gpa, const Fd& eventfd);
  bool can_pre_fault() const { return offers(KVM_CAP_PRE_FAULT_MEMORY); }
  bool offers(u32 capability) const;
  // MSRs that KVM lists (KVM_GET_MSR_INDEX_LIST) and tells of. The vCPU has its CPUID, on which
  // that depends; the first one is asked, for all: a system call for each MSR.
  Result<std::vector<u32>> readable_msrs(const Vcpu& vcpu);

 private:
  Status split_irqchip();
  Status enable_msr_exits();
  Status map(const hyperkernel::RamRange& range, u32 flags);
  Status ioeventfd(u64 gpa, const Fd& eventfd, u32 flags);
  Fd kvm_;
  Fd vm_;
  Injection injection_ = Injection::queued;
  u32 slots_ = 0;
  std::map<u32, Vcpu> ahead_;
  std::vector<u32> msrs_;
};

// What KVM of this host can offer a guest.
Result<std::vector<kvm_cpuid_entry2>> supported_cpuid();

}  // namespace dvm::vmm
