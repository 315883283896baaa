// A vCPU's thread while an epoch ends, or is rolled back (epoch_word.h).
#include "vmm/epoch_record.h"
#include "vmm/pv_eoi.h"
#include "vmm/vcpu_passage.h"
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {

bool VcpuThread::epoch_waits() const {
  const EpochRecord* record = machine_.epoch();
  return record != nullptr && holds_vcpus(EpochWord::unpack(record->word.load()).stage);
}

bool VcpuThread::save_all(VcpuState& state) {
  if (!finish_exit()) return false;
  if (const Status saved = transfer_->save(state); !saved.ok()) {
    fail(saved.error().message);
    return false;
  }
  state.halted = halted() ? 1 : 0;
  state.ready = vcpu_.run().ready_for_interrupt_injection;
  seal_vcpu_state(state, index_);
  return true;
}

// Its state in the bank of the epoch to come.
bool VcpuThread::save_for_epoch(VcpuState& state) {
  if (held_.load() != nullptr) return true;
  if (!save_all(state)) return false;
  held_.store(&state);
  return true;
}

// Until the guest may go on. The phase may end it before.
void VcpuThread::stand_still() {
  EpochRecord& record = *machine_.epoch();
  bool rolled_back = false;
  for (;;) {
    const u32 seen = fabric::listen(v_.bell);
    const u64 now = record.word.load();
    const EpochWord word = EpochWord::unpack(now);
    const Phase phase = machine_.state().control.phase.load();
    if (!holds_vcpus(word.stage) || phase == Phase::stopped || phase == Phase::resetting) break;
    if (all_power_fails()) break;
    // Before this thread saw it, the machine was put back, and the next end has begun: what it has
    // is void, and is to be loaded anew before it is saved.
    if (rolled_back && word.stage != EpochStage::rolling) break;
    rolled_back = word.stage == EpochStage::rolling;
    if (rolled_back) machine_.state().control.saved[index_].store(0);
    if (word.stage == EpochStage::stopping &&
        !save_for_epoch(record.banks[(word.epoch + 1) % 2].vcpus[index_].state)) {
      break;
    }
    v_.run_state.store(VcpuRunState::parked, std::memory_order_seq_cst);
    if (record.answered[index_].exchange(now) != now) fabric::ring(record.bell);
    fabric::wait(v_.bell, seen, std::nullopt);
  }
  v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
  const VcpuState* const held = held_.load();
  if (rolled_back) {
    load_epoch();
  } else if (held != nullptr && !vcpu_.follows_vectors()) {
    if (const Status restored = transfer_->restore(*held); !restored.ok())
      fail(restored.error().message);
  }
  held_.store(nullptr);
}

// Nothing of what KVM has of this vCPU counts any more.
void VcpuThread::load_epoch() {
  EpochRecord& record = *machine_.epoch();
  if (machine_.state().control.phase.load() == Phase::stopped ||
      machine_.state().control.phase.load() == Phase::resetting)
    return;
  const u32 epoch = EpochWord::unpack(record.word.load()).epoch;
  drop_exit();
  VcpuState state;
  Status good = copy_vcpu_state(v_, record.banks[epoch % 2].vcpus[index_].state, index_,
                                static_cast<u32>(vcpu_.injection()), state);
  state.tsc_offset = machine_.state().control.tsc_offset.load();
  state.sregs.apic_base = v_.lapic.apic_base;
  if (good.ok()) good = transfer_->prepare();
  if (good.ok()) good = transfer_->load(state);
  if (!good.ok()) return fail(good.error().message);
  set_halted(state.halted != 0);
  v_.journal.phase.store(VcpuPhase::outside, std::memory_order_relaxed);
  pv_eoi_after_exit(machine_, index_);
  armed_tsc_ = 0;
}

// What KVM has yet to complete of an instruction it completes with whatever there is.
void VcpuThread::drop_exit() {
  constexpr int kMostParts = 16;
  for (int i = 0; i < kMostParts; ++i) {
    vcpu_.run().immediate_exit = 1;
    const auto entered = vcpu_.enter();
    if (!entered.ok() || *entered != 0) return;
  }
}

}  // namespace dvm::vmm
