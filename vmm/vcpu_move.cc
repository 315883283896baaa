// A vCPU's thread when the vCPU comes or goes (vcpu_place.h).
#include <time.h>

#include "fabric/failpoint.h"
#include "vmm/heir.h"
#include "vmm/pv_eoi.h"
#include "vmm/vcpu_passage.h"
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {

using Kind = PlaceStep::Kind;

bool VcpuThread::wait_for_vcpu() {
  for (;;) {
    const u32 seen = fabric::listen(v_.arrival);
    const Phase phase = machine_.state().control.phase.load();
    if (phase == Phase::resetting || phase == Phase::stopped) return false;
    const VcpuPlace place = v_.where();
    if (place.node == node_ && place.stage == PlaceStage::arriving) return take_over();
    if (place.node == node_) {  // from the start
      here_.store(true);
      return true;
    }
    if (place.target == node_ && place.stage == PlaceStage::asked && prepare()) continue;
    if (dismissed_.load()) return false;
    fabric::wait(v_.arrival, seen, std::nullopt);
  }
}

void VcpuThread::dismiss() {
  dismissed_.store(true);
  fabric::ring(v_.arrival);
}

bool VcpuThread::call_off(MoveRefusal why) {
  return take_step(v_.place, {.kind = Kind::call_off, .refusal = why}).has_value();
}

// Everything that can be done before the vCPU stands still for it.
bool VcpuThread::prepare() {
  halts_counted_ = vcpu_.stats().halts();  // as long as it does not run here
  if (const Status prepared = transfer_->prepare(); !prepared.ok()) {
    fmt::print(stderr, "dvm-node {}: no room for vCPU {}: {}\n", node_, index_,
               prepared.error().message);
    call_off(MoveRefusal::target_failed);
    return false;
  }
  prepared_ = true;
  fabric::failpoint("move.prepared");
  if (!take_step(v_.place, {Kind::prepared, node_})) return false;
  fabric::failpoint("move.ready");
  machine_.kick(index_, std::nullopt);
  return true;
}

bool VcpuThread::move_waits() const {
  const VcpuPlace place = v_.where();
  return place.node == node_ &&
         (place.stage == PlaceStage::ready || (power_fails() && heir_of(machine_, index_, node_)));
}

// The vCPU is out of the guest. Until the commit everything is as if it stayed.
bool VcpuThread::hand_over() {
  note_instant(move_.begun);
  VcpuState& state = machine_.state().vcpu_states[index_];
  if (!finish_exit()) return false;  // and again, soon
  note_instant(move_.completed);
  Status saved = transfer_->save(state);
  note_instant(move_.saved);
  state.halted = halted() ? 1 : 0;
  state.ready = vcpu_.run().ready_for_interrupt_injection;
  seal_vcpu_state(state, index_);
  fabric::failpoint("move.saved");
  if (!saved.ok()) {
    fmt::print(stderr, "dvm-node {}: vCPU {} stays: {}\n", node_, index_, saved.error().message);
    call_off(MoveRefusal::source_failed);
  } else {
    leave_behind();
    if (commit(state)) return true;
    here_.store(true);
    saved = transfer_->restore(state);
  }
  if (!saved.ok()) fail(saved.error().message);
  return false;
}

// To whom it was to go; with the power failing, to anybody.
bool VcpuThread::commit(VcpuState& state) {
  v_.journal.phase.store(VcpuPhase::outside, std::memory_order_relaxed);
  if (power_fails()) {
    if (!give_up(state)) return false;
  } else {
    const auto from = commit_move(v_, node_);
    if (!from) return false;
    // Device timers are served where vCPU 0 is.
    if (index_ == 0) fabric::ring(machine_.state().nodes[from->target].bell);
  }
  const itimerspec never{};
  ::timer_settime(timer_, 0, &never, nullptr);
  return true;
}

// What of it is this thread's: the record is the target's from the commit on.
void VcpuThread::leave_behind() {
  if (vcpu_.injection() != Injection::queued)
    v_.counters.halts = halts_before_.load() + vcpu_.stats().halts();
  here_.store(false);
  v_.halted_in_kvm.store(0, std::memory_order_relaxed);
  move_.from.store(node_, std::memory_order_relaxed);
}

// From the commit on there is no way back: a state that cannot be loaded ends the guest.
bool VcpuThread::take_over() {
  VcpuState state;
  Status good = copy_vcpu_state(v_, machine_.state().vcpu_states[index_], index_,
                                static_cast<u32>(vcpu_.injection()), state);
  state.tsc_offset = machine_.state().control.tsc_offset.load();  // another one, if it was resumed
  state.sregs.apic_base = v_.lapic.apic_base;  // KVM's is behind that of one that was killed
  if (good.ok() && !std::exchange(prepared_, false)) good = transfer_->prepare();
  if (good.ok()) good = transfer_->load(state);
  note_instant(move_.loaded);
  if (!good.ok()) {
    fail(good.error().message);
    return false;
  }
  set_halted(state.halted != 0);
  v_.journal.phase.store(VcpuPhase::outside, std::memory_order_relaxed);
  pv_eoi_after_exit(machine_, index_);
  halts_before_.store(v_.counters.halts - halts_counted_);
  armed_tsc_ = 0;
  pausing_ = true;
  here_.store(true);
  take_step(v_.place, {Kind::arrived, node_});
  return true;
}

void VcpuThread::end_pause() {
  if (!pausing_) return;
  pausing_ = false;
  note_instant(move_.entered);
  move_.pause_sum.fetch_add(move_.entered.load() - move_.begun.load());
  move_.untold.store(1);
}

// When the vCPU is out of the guest again, or by the node's main thread if that is sooner.
void VcpuThread::tell_of_move() {
  if (move_.untold.load(std::memory_order_relaxed) == 0 || move_.untold.exchange(0) == 0) return;
  machine_.log_event(fabric::EventKind::vcpu_moved, {index_, u64{move_.from.load()} << 32 | node_,
                                                     move_.entered.load() - move_.begun.load()});
  fabric::ring(machine_.state().control.changed);
}

}  // namespace dvm::vmm
