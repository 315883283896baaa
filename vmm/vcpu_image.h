// A vCPU's registers as its thread left them when it parked, for those who look at a paused guest.
#pragma once

#include <type_traits>

#include "fabric/types.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

// Written by the vCPU's own thread, before it says "parked"; read by anyone while it is parked.
struct VcpuImage {
  kvm_regs regs;
  kvm_sregs sregs;
  u64 kernel_gs_base;  // IA32_KERNEL_GS_BASE, MSR 0xc0000102
  u64 saved;           // 0: none, or KVM would not tell
};
static_assert(sizeof(kvm_regs) == 144 && sizeof(kvm_sregs) == 312);
static_assert(sizeof(VcpuImage) == 472 && std::is_trivially_copyable_v<VcpuImage>);

}  // namespace dvm::vmm
