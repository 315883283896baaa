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
  // Maps guest memory as if the guest had read it; stops where it cannot. False: KVM cannot at all.
  bool pre_fault(u64 gpa, u64 bytes);
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
  // The last `bytes` before 4 GiB, read-only: a write there comes as an MMIO exit.
  Status map_rom(const hyperkernel::GuestMemory& rom, u64 bytes);
  Result<Vcpu> create_vcpu(u32 id);
  bool can_pre_fault() const;
  // What KVM of this host can offer a guest.
  Result<std::vector<kvm_cpuid_entry2>> supported_cpuid() const;

 private:
  Status enable_msr_exits();
  Status map(const hyperkernel::RamRange& range, u32 flags);
  Fd kvm_;
  Fd vm_;
  u32 slots_ = 0;
};

}  // namespace dvm::vmm
