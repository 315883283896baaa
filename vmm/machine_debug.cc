// The machine's side of a debugger: what it watches for lies in the pool, and whichever node runs a
// vCPU carries it out.
#include <algorithm>

#include "vmm/machine_steps.h"

namespace dvm::vmm {

void Machine::debug_changed() {
  state_->debug.generation.fetch_add(1);
  ring_everyone();
}

bool Machine::is_debug_breakpoint(u64 address) const {
  return address != kNoBreakpoint &&
         std::ranges::any_of(state_->debug.software, [&](const auto& at) {
           return at.load(std::memory_order_acquire) == address;
         });
}

void Machine::debug_stop(u32 vcpu, u32 dr6) {
  u64 nobody = 0;
  state_->debug.stopped_by.compare_exchange_strong(nobody, u64{dr6} << 32 | (vcpu + 1));
  // A pause like any other, but no event: a debugger's stops come by the hundred.
  Phase running = Phase::running;
  if (state_->control.phase.compare_exchange_strong(running, Phase::paused)) ring_everyone();
}

}  // namespace dvm::vmm
