// A vCPU given up: by its own thread when the power fails, by the node's keeper when that thread
// has been killed.
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fabric/failpoint.h"
#include "vmm/epoch_record.h"
#include "vmm/heir.h"
#include "vmm/keeper_record.h"
#include "vmm/vcpu_passage.h"
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {

// Its exit, to one of the living; false: nobody answers before the machine stops.
bool VcpuThread::ask(KeeperRecord& record) {
  const u64 bytes = std::min<u64>(record.run.size(), vcpu_.run_bytes());
  std::memcpy(record.run.data(), &vcpu_.run(), bytes);
  record.vcpu.store(index_);
  record.state.store(KeeperState::asks);
  machine_.ring_nodes();
  for (;;) {
    const u32 seen = fabric::listen(record.bell);
    if (record.state.load() == KeeperState::answered) break;
    if (machine_.state().control.phase.load() == Phase::stopped) return false;
    fabric::wait(record.bell, seen, fabric::monotonic_ns() + 10'000'000);
  }
  record.state.store(KeeperState::reads);
  std::memcpy(&vcpu_.run(), record.run.data(), bytes);
  return true;
}

// An interrupt that was being given to KVM is given, and accepted.
bool VcpuThread::finish_injection() {
  VcpuJournal& journal = v_.journal;
  if (journal.phase.load() != VcpuPhase::injecting) return true;
  if (!vcpu_.give_again(static_cast<u8>(journal.vector))) return false;
  lapic_accept(v_.lapic, v_.inbox, static_cast<u8>(journal.vector));
  journal.phase.store(journal.after);
  return true;
}

// An exit that waits is handled, and KVM completes it.
bool VcpuThread::finish_for_dead(KeeperRecord& record) {
  constexpr int kMostParts = 16;
  VcpuJournal& journal = v_.journal;
  kvm_run& run = vcpu_.run();
  const bool left = journal.phase.load() == VcpuPhase::entering;
  if (left && (v_.lapic.tpr >> 4) != run.cr8) v_.lapic.tpr = static_cast<u32>(run.cr8 << 4);
  const u32 reason = run.exit_reason;
  // Killed in the guest: nothing is under way. KVM_RUN by another thread than the last one's waits
  // for every processor (kvm_vcpu_ioctl replaces the vCPU's `pid` and calls synchronize_rcu), which
  // takes ten times as long as all else that is done here.
  if (left && reason == KVM_EXIT_INTR) return true;
  const bool none = reason == kNoExit || reason == KVM_EXIT_INTR || reason == KVM_EXIT_UNKNOWN;
  bool waits = journal.phase.load() == VcpuPhase::handling || (left && !none);
  for (int i = 0; i < kMostParts; ++i) {
    if (waits && !ask(record)) return false;
    run.immediate_exit = 1;
    run.cr8 = v_.lapic.tpr >> 4;
    run.exit_reason = kNoExit;
    journal.phase.store(VcpuPhase::entering);
    if (::ioctl(vcpu_.fd().get(), KVM_RUN, 0) < 0) return errno == EINTR || errno == EAGAIN;
    waits = true;
  }
  return false;
}

// The keeper's: all of the node's threads have ended, and this object lies as they left it.
bool VcpuThread::salvage(KeeperRecord& record) {
  if (v_.run_state.load() == VcpuRunState::absent || v_.where().stage == PlaceStage::arriving)
    return true;  // nothing of it is here: pass_on_vcpus sees to it
  note_instant(move_.begun);
  const auto failed = [&](KeeperTrouble why) {
    record.trouble.store(why);
    return false;
  };
  VcpuState& state = machine_.state().vcpu_states[index_];
  if (const VcpuState* held = held_.load()) {
    // It stood still for an epoch's end, and all of it has been read.
    state = *held;
    note_instant(move_.completed);
  } else {
    if (!finish_injection()) return failed(KeeperTrouble::injection);
    if (!finish_for_dead(record)) return failed(KeeperTrouble::exit);
    note_instant(move_.completed);
    if (!transfer_->save(state).ok()) return failed(KeeperTrouble::save);
  }
  note_instant(move_.saved);
  record.given_up.fetch_add(1);
  if (give_up(state)) return true;
  return failed(heir_of(machine_, index_, node_) ? KeeperTrouble::place : KeeperTrouble::heir);
}

bool VcpuThread::give_up(VcpuState& state) {
  const auto heir = heir_of(machine_, index_, node_);
  if (!heir) return false;
  state.halted = halted() ? 1 : 0;
  state.ready = vcpu_.run().ready_for_interrupt_injection;
  seal_vcpu_state(state, index_);
  v_.journal.phase.store(VcpuPhase::outside);
  move_.from.store(node_, std::memory_order_relaxed);
  v_.halted_in_kvm.store(0, std::memory_order_relaxed);
  v_.run_state.store(VcpuRunState::outside);
  note_instant(move_.committed);
  fabric::failpoint("vcpu.given_up");
  if (!take_step(v_.place, {.kind = PlaceStep::Kind::give_up, .node = node_, .heir = *heir}))
    return false;
  fabric::ring(v_.arrival);
  fabric::ring(machine_.state().nodes[*heir].bell);
  return true;
}

// Not while the machine goes back to an epoch: what this thread has is void then.
bool VcpuThread::all_power_fails() const {
  return machine_.state().control.power_fails.load(std::memory_order_relaxed) != 0 &&
         !rolls_back(machine_.epoch());
}

// The power of the whole machine fails: to whoever resumes it. The last one stops the machine.
void VcpuThread::leave_saved() {
  MachineControl& control = machine_.state().control;
  if (!save_all(machine_.state().vcpu_states[index_])) return;  // and again, soon
  v_.journal.phase.store(VcpuPhase::outside);
  v_.run_state.store(VcpuRunState::parked);
  control.saved[index_].store(1);
  const auto all = std::span(control.saved).first(machine_.config().vcpus);
  if (std::ranges::all_of(all, [](const auto& saved) { return saved.load() != 0; })) {
    machine_.log_event(fabric::EventKind::machine_saved,
                       {fabric::monotonic_ns() - control.power_fails_ns.load()});
    machine_.request_stop(StopReason::power_failed);
  }
  for (u32 seen = fabric::listen(v_.bell); control.phase.load() != Phase::stopped;
       seen = fabric::listen(v_.bell)) {
    if (!all_power_fails()) return;
    fabric::wait(v_.bell, seen, std::nullopt);
  }
}

}  // namespace dvm::vmm
