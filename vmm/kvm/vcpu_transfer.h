// A vCPU's whole state, from KVM to the pool and from the pool to KVM (vmm/vcpu_state.h).
#pragma once

#include <span>
#include <vector>

#include "vmm/kvm/kvm.h"
#include "vmm/vcpu_state.h"

namespace dvm::vmm {

// One KVM vCPU's way in and out. Threads: the vCPU's own.
class VcpuTransfer {
 public:
  // After CPUID: which MSRs there are depends on it.
  static Result<VcpuTransfer> of(Vm& vm, Vcpu& vcpu);

  // Precondition: KVM has completed the last exit. Takes nothing away from the vCPU, which may go
  // on here if it stays after all, except that `restore` has to be called first.
  Status save(VcpuState& state);
  // Before `load` into a vCPU that has been here: what KVM holds that no ioctl could take away is
  // driven out, without an instruction of the guest's, and the rest is noted, so that `load` sets
  // only what differs.
  Status prepare();
  Status load(const VcpuState& state);
  // After a `save` whose vCPU stays.
  Status restore(const VcpuState& state);

 private:
  explicit VcpuTransfer(Vcpu& vcpu) : vcpu_(&vcpu) {}
  Status list_msrs(Vm& vm);
  Result<u32> get_msrs(u32* count, kvm_msr_entry* entries) const;
  Status save_msrs(VcpuState& state) const;
  Status load_msrs(const VcpuState& state);
  bool knows(u32 place, const kvm_msr_entry& msr) const;
  Status drive_out_vector();
  Status turn_back();

  Vcpu* vcpu_;
  bool xsave_ = false, xcrs_ = false, sregs2_ = false;
  std::vector<u32> msrs_;             // that this KVM tells of, less what is ours
  std::vector<kvm_msr_entry> known_;  // what it has of them, as of `prepare`
  u64 known_offset_ = 0;
};

}  // namespace dvm::vmm
