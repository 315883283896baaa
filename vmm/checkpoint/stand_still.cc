#include "vmm/checkpoint/stand_still.h"

namespace dvm::vmm::checkpoint {
namespace {

constexpr u64 kLookNs = 5'000'000;

bool goes_on(const MachineControl& control) {
  const Phase phase = control.phase.load();
  return phase == Phase::running || phase == Phase::paused;
}

u32 living_nodes(const Machine& machine) {
  u32 nodes = 0;
  for (u32 node = 0; node < layout::kMaxNodes; ++node)
    nodes |= machine.is_alive(node) ? 1u << node : 0u;
  return nodes;
}

}  // namespace

Result<std::unique_ptr<StandStill>> StandStill::begin(Machine& machine, u64 patience_ns) {
  MachineControl& control = machine.state().control;
  if (!goes_on(control)) return error("the guest neither runs nor is paused");
  const u32 number = control.checkpoints.fetch_add(1) + 1;
  u32 none = 0;
  if (!control.checkpoint.compare_exchange_strong(none, number))
    return error("another checkpoint is being taken");
  std::unique_ptr<StandStill> still(new StandStill(machine, number));
  still->nodes_ = living_nodes(machine);
  still->was_paused_ = control.phase.load() == Phase::paused;
  machine.ring_everyone();
  DVM_TRY(still->await_vcpus(patience_ns));
  still->take_cells();
  still->guest_tsc_ = machine.guest_tsc();
  DVM_TRY(still->holds());
  return still;
}

StandStill::~StandStill() {
  cells_.reset();
  if (!was_paused_) machine_.rearm_watchdog();
  u32 number = number_;
  machine_.state().control.checkpoint.compare_exchange_strong(number, 0);
  machine_.ring_everyone();
}

Status StandStill::await_vcpus(u64 patience_ns) {
  const MachineState& state = machine_.state();
  const u64 limit = fabric::monotonic_ns() + patience_ns;
  const auto all_stand = [&] {
    for (u32 i = 0; i < state.config.vcpus; ++i) {
      if (state.control.stands[i].load() != number_) return false;
    }
    return true;
  };
  for (;;) {
    const u32 seen = fabric::listen(state.control.changed);
    if (all_stand()) return {};
    DVM_TRY(holds());
    const u64 now = fabric::monotonic_ns();
    if (now >= limit) return error("a vCPU still runs after {} s", patience_ns / 1'000'000'000);
    fabric::wait(state.control.changed, seen, now + kLookNs);
  }
}

// What somebody who died has left half done is completed first.
void StandStill::take_cells() {
  for (;;) {
    cells_.emplace(machine_);
    if (!cells_->from_dead()) return;
    cells_.reset();
    machine_.mend_devices();
  }
}

Status StandStill::holds() const {
  const MachineControl& control = machine_.state().control;
  if (!goes_on(control)) return error("the guest was reset or stopped meanwhile");
  if ((nodes_ & ~living_nodes(machine_)) != 0) return error("a node ended meanwhile");
  if (control.checkpoint.load() == number_) return {};
  return error("the power failed, or the guest goes back to an epoch");
}

}  // namespace dvm::vmm::checkpoint
