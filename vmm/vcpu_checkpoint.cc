// A vCPU's thread while a checkpoint is taken (checkpoint/stand_still.h).
#include "vmm/epoch_record.h"
#include "vmm/vcpu_passage.h"
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {

bool VcpuThread::checkpoint_waits() const {
  return machine_.state().control.checkpoint.load(std::memory_order_relaxed) != 0;
}

// All of it into the pool, and still until the checkpoint is taken or given up. Death meanwhile:
// the keeper finds it in `held_`.
void VcpuThread::stand_for_checkpoint() {
  MachineControl& control = machine_.state().control;
  VcpuState& state = machine_.state().vcpu_states[index_];
  const u32 number = control.checkpoint.load();
  if (number == 0 || !save_all(state)) return;
  held_.store(&state);
  end_pause();
  tell_of_move();
  v_.run_state.store(VcpuRunState::parked, std::memory_order_seq_cst);
  control.stands[index_].store(number);
  fabric::ring(control.changed);
  for (;;) {
    const u32 seen = fabric::listen(v_.bell);
    const Phase phase = control.phase.load();
    const bool goes_on = phase == Phase::running || phase == Phase::paused;
    if (control.checkpoint.load() != number) break;
    if (!goes_on || all_power_fails() || rolls_back(machine_.epoch())) {
      u32 called_off = number;
      control.checkpoint.compare_exchange_strong(called_off, 0);
      break;
    }
    fabric::wait(v_.bell, seen, std::nullopt);
  }
  v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
  if (!vcpu_.follows_vectors()) {
    if (const Status restored = transfer_->restore(state); !restored.ok())
      fail(restored.error().message);
  }
  held_.store(nullptr);
}

}  // namespace dvm::vmm
