// The watchdog, of a machine that has one. A guest that is paused cannot ping it: it stands still
// then, and has all its time again when the guest goes on.
#include "vmm/machine_steps.h"

namespace dvm::vmm {

u32 Machine::watchdog_port_read(u16 offset, u8 size) {
  return step(state_->watchdog,
              [&](const WatchdogState& s) { return watchdog_read(s, offset, size, env()); });
}

void Machine::watchdog_port_write(u16 offset, u8 size, u32 value) {
  step(state_->watchdog, [&](WatchdogState& s) { watchdog_write(s, offset, size, value, env()); });
  wake_timer_node();
}

std::optional<u64> Machine::next_watchdog_deadline() {
  if (state_->control.phase.load() != Phase::running) return std::nullopt;
  return step(state_->watchdog, [](const WatchdogState& s) { return watchdog_next_deadline(s); });
}

void Machine::rearm_watchdog() {
  step(state_->watchdog,
       [&](WatchdogState& s) { watchdog_write(s, watchdog::kPing, 1, 1, env()); });
}

// Nothing is changed here: whoever dies in the middle leaves it to the next one who looks. A reset
// ends it.
void Machine::run_watchdog() {
  if (state_->control.phase.load() != Phase::running) return;
  const bool expired =
      step(state_->watchdog, [&](const WatchdogState& s) { return watchdog_expired(s, env()); });
  if (expired) guest_panicked(PanicCause::watchdog);
}

}  // namespace dvm::vmm
