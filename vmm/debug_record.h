// A debugger's hold on the machine, in the pool: what every vCPU is to watch for, and what one of
// them has met. Written by the debugger's stub (tools/gdb_stub.h), carried out by whichever node a
// vCPU is on.
#pragma once

#include <array>
#include <atomic>

#include "fabric/types.h"
#include "vmm/kvm/kvm_api.h"

namespace dvm::vmm {

inline constexpr u32 kHardwareBreakpoints = 4;  // DR0..DR3
inline constexpr u32 kSoftwareBreakpoints = 256;
inline constexpr u64 kNoBreakpoint = ~u64{0};

struct DebugRecord {
  std::atomic<u32> attached;    // a debugger is there: INT3 and debug exceptions are looked at
  std::atomic<u32> generation;  // moved on after every change of what follows and of `attached`
  std::array<std::atomic<u64>, kHardwareBreakpoints> address;  // guest-virtual
  std::atomic<u64> dr7;
  // Guest-virtual addresses where the stub has put an OUT or INT3; kNoBreakpoint where there is
  // none.
  std::array<std::atomic<u64>, kSoftwareBreakpoints> software;
  // 1 + the vCPU that stopped the machine, and above bit 32 DR6 as KVM told it; 0: none has.
  std::atomic<u64> stopped_by;
};

// A vCPU's part; its registers are in VcpuImage. `fpu` and `changed` are the stub's while the vCPU
// is parked, and the vCPU thread's otherwise.
struct VcpuDebug {
  std::atomic<u32> step;     // 1: execute one instruction, though the machine is paused, then 0
  std::atomic<u32> changed;  // 1: the registers were written and are to be loaded
  kvm_fpu fpu;
};
static_assert(sizeof(kvm_fpu) == 416);

}  // namespace dvm::vmm
