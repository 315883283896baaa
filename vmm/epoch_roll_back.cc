// Back to where the epoch began: all nodes are at rest, one of them puts back what it began with.
// Everything here may be done again by another, from the start.
#include <algorithm>

#include "fabric/failpoint.h"
#include "vmm/all_cells.h"
#include "vmm/epoch_coordinator.h"
#include "vmm/guest_bank.h"
#include "vmm/heir.h"
#include "vmm/vcpu_passage.h"

namespace dvm::vmm {

void EpochCoordinator::roll_back(EpochWord rolling, const Answer& answer) {
  MachineState& s = machine_.state();
  const GuestBank& bank = record_.banks[rolling.epoch % 2];
  const Phase phase = s.control.phase.load();
  if (phase == Phase::stopped) return;
  machine_.ring_everyone();
  const bool runs = phase == Phase::running || phase == Phase::paused;
  if (runs && !await_vcpus(rolling, true)) return;
  if (!await_members(rolling, answer)) return;
  if (!await_io(rolling)) return;
  fabric::failpoint("epoch.resting");
  // The guest has been reset since: it starts once more.
  const bool restart =
      bank.boot == 0 || bank.boot != s.control.boots.load() || !runs || !check_bank(s, bank).ok();
  {
    const AllCells cells(machine_);
    if (!restart) {
      // By frames of the pool: nothing waits there.
      record_.figures.last_roll_pages.store(
          log_.put_back(record_.log[rolling.epoch % 2].load(), frames_.memory()));
      fabric::failpoint("epoch.pages_back");
      restore_bank(s, bank, static_cast<u8>(kFirstNodeInstance + a_dead_node() + 1));
      fabric::failpoint("epoch.bank_back");
    }
    place_vcpus(restart ? nullptr : &bank);
    record_.figures.roll_backs.fetch_add(1);
    record_.figures.last_roll_ns.store(fabric::monotonic_ns() -
                                       record_.figures.roll_asked_ns.load());
    record_.opened_ns.store(fabric::monotonic_ns());
    if (!step(rolling, EpochStep::restored)) return;
  }
  machine_.log_event(fabric::EventKind::rolled_back,
                     {rolling.epoch, record_.figures.last_roll_pages.load(), restart ? 1u : 0u});
  if (restart && runs) machine_.request_reset();
  machine_.ring_everyone();
}

// What a dead node has in flight would land in memory that has been put back. Nothing is under way
// of the living, who are at rest.
bool EpochCoordinator::await_io(EpochWord rolling) const {
  constexpr u64 kNapNs = 1'000'000, kLongestNs = 2'000'000'000;
  const u64 end = fabric::monotonic_ns() + kLongestNs;
  while (io_over_ && machine_.any_in_flight() && !io_over_()) {
    const u64 now = fabric::monotonic_ns();
    if (word() != rolling || now >= end) return false;
    fabric::wait(record_.bell, fabric::listen(record_.bell), now + kNapNs);
  }
  return true;
}

u32 EpochCoordinator::a_dead_node() const {
  for (u32 node = 0; node < layout::kMaxNodes; ++node) {
    if (!machine_.is_alive(node)) return node;
  }
  return layout::kMaxNodes - 1;
}

// Those of the dead go to heirs, who find their states where any vCPU's is that moves. With no
// bank, they have none, and start with the machine.
void EpochCoordinator::place_vcpus(const GuestBank* bank) {
  using Kind = PlaceStep::Kind;
  MachineState& s = machine_.state();
  for (u32 i = 0; i < s.config.vcpus; ++i) {
    VcpuRecord& v = s.vcpus[i];
    take_step(v.place, {.kind = Kind::call_off, .refusal = MoveRefusal::target_died});
    const VcpuPlace place = v.where();
    const bool arrives = place.stage == PlaceStage::arriving;
    if (bank != nullptr) s.vcpu_states[i] = bank->vcpus[i].state;
    if (machine_.is_alive(place.node)) continue;
    const auto heir = heir_of(machine_, i, place.node);
    if (!heir) continue;
    const Kind kind = arrives ? Kind::pass_on : bank != nullptr ? Kind::give_up : Kind::reassign;
    v.move.begun.store(record_.figures.roll_asked_ns.load());  // it stands still since
    note_instant(v.move.committed);
    v.run_state.store(bank != nullptr ? VcpuRunState::outside : VcpuRunState::absent);
    take_step(v.place, {.kind = kind, .node = place.node, .heir = *heir});
    fabric::ring(v.arrival);
    fabric::ring(s.nodes[*heir].bell);
  }
}

}  // namespace dvm::vmm
