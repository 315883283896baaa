// What KVM counts of a vCPU (Linux Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD).
#pragma once

#include "fabric/fd.h"
#include "fabric/types.h"

namespace dvm::vmm {

// Threads: any, also while the vCPU is in the guest.
class VcpuStats {
 public:
  static Result<VcpuStats> open(const Fd& vcpu);
  u64 halts() const { return value(halts_at_); }            // HLT instructions
  u64 injections() const { return value(injections_at_); }  // of interrupts into the guest
  bool counts_injections() const { return injections_at_ != 0; }
  bool halted() const { return value(blocking_at_) != 0; }  // waits in one now

 private:
  u64 value(u64 at) const;  // 0 of what this kernel does not count

  Fd fd_;
  u64 halts_at_ = 0, blocking_at_ = 0, injections_at_ = 0;  // offsets in the file; 0: none
};

}  // namespace dvm::vmm
