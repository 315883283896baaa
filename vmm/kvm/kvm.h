// KVM's descriptors: system, VM and vCPU. The rim: every ioctl of the project goes through here and
// an error names the request.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "fabric/fd.h"
#include "fabric/mapping.h"
#include "hyperkernel/guest_memory.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

// ioctl on `fd`; EINTR is an error like any other. `name` is the request's, for messages.
Result<int> kvm_ioctl(const Fd& fd, unsigned long request, const char* name,
                      void* argument = nullptr);
Result<int> kvm_ioctl(const Fd& fd, unsigned long request, const char* name,
                      unsigned long argument);

class Vcpu {
 public:
  const Fd& fd() const { return fd_; }
  kvm_run& run() { return *reinterpret_cast<kvm_run*>(run_.data()); }
  u64 run_bytes() const { return run_.size(); }

  // Enters the guest. 0, or the errno of a run that was interrupted (EINTR, EAGAIN); other failures
  // are errors.
  Result<int> enter();
  Result<kvm_regs> regs() const;
  Status set_regs(kvm_regs regs);
  Result<kvm_sregs> sregs() const;
  Status set_sregs(kvm_sregs sregs);
  Status set_cpuid(std::vector<kvm_cpuid_entry2> entries);
  // Guest TSC = host TSC + offset. Never by writing IA32_TSC, which KVM may take for
  // synchronisation.
  Status set_tsc_offset(u64 offset);
  Result<u64> msr(u32 index) const;
  Result<u64> tsc_khz() const;
  Status inject_interrupt(u8 vector);  // precondition: ready_for_interrupt_injection
  Status inject_nmi();
  Status inject_double_fault();  // in place of whatever was about to be delivered

 private:
  friend class Vm;
  Fd fd_;
  Mapping run_;
};

// One VM of this process. Threads: set-up by one; each Vcpu by its own thread.
class Vm {
 public:
  static Result<Vm> create();
  Status map_memory(const hyperkernel::GuestMemory& memory);
  Result<Vcpu> create_vcpu(u32 id);
  // What KVM of this host can offer a guest.
  Result<std::vector<kvm_cpuid_entry2>> supported_cpuid() const;

 private:
  Status enable_msr_exits();
  Fd kvm_;
  Fd vm_;
};

}  // namespace dvm::vmm
