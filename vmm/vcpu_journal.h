// What a vCPU's thread is in the middle of, in the pool: so that the vCPU goes on from there when
// the thread is killed at any instruction (keeper.h).
//
//   outside ─> entering ─(KVM_RUN)─> handling ─> handled ─> entering …
//      └─────────> injecting ─> outside or handled
//
// What a phase means to who finishes it:
//   outside    nothing is under way
//   entering   KVM_RUN is about to be called, or has been: kvm_run::exit_reason tells whether an
//              exit waits, as it was set to kNoExit before
//   handling   an exit is being handled: the local APIC goes back to `lapic`, and the handler runs
//              again over the operations that are not done (operation_log.h)
//   handled    the exit is done; KVM completes the instruction at its next KVM_RUN
//   injecting  `vector` is being given to KVM: it is given again, which changes nothing if KVM has
//              it, and accepted, which changes nothing the second time
#pragma once

#include <cstring>
#include <type_traits>

#include "vmm/irq/lapic.h"
#include "vmm/operation_log.h"

namespace dvm::vmm {

enum class VcpuPhase : u32 { outside, entering, handling, handled, injecting };

inline constexpr u32 kNoExit = 0xffff'ffff;  // no reason of KVM's

// Written by the vCPU's thread; after its death by whoever finishes for it.
struct VcpuJournal {
  std::atomic<VcpuPhase> phase;
  std::atomic<u32> halted;  // in a HLT that KVM told us of (queued injection)
  u32 vector;               // injecting
  VcpuPhase after;          // injecting: the phase before it
  OperationLog operations;
  LapicState lapic;  // handling: as it was before
};

// Only the vCPU's thread writes a local APIC, so its bytes stand still for who copies them.
inline void copy_lapic(const LapicState& from, LapicState& to) {
  static_assert(std::is_standard_layout_v<LapicState>);
  std::memcpy(static_cast<void*>(&to), static_cast<const void*>(&from), sizeof(LapicState));
}

}  // namespace dvm::vmm
