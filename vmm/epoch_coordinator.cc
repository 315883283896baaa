#include "vmm/epoch_coordinator.h"

#include <algorithm>

#include "fabric/claim.h"
#include "fabric/failpoint.h"
#include "fabric/urgent_thread.h"
#include "vmm/all_cells.h"
#include "vmm/boot/e820.h"
#include "vmm/epoch_output.h"
#include "vmm/guest_bank.h"

namespace dvm::vmm {
namespace {

// How long the nodes may take to a step: a node that takes longer hangs, and is seen to by others.
constexpr u64 kPatienceNs = 2'000'000'000;
constexpr u64 kIdleNs = 200'000'000;
// With output waiting. Shorter, the guest would do little else than stand still.
constexpr u64 kLeastNs = 10'000'000;
// An epoch that costs much lasts up to so many times as long as was asked for.
constexpr u64 kStretch = 8;
// What a page's fault takes of the vCPU's time beside the time of who serves it: about as much.
constexpr u64 kBothSides = 2;

u64 ns_since(u64 begin) { return fabric::monotonic_ns() - begin; }

}  // namespace

Result<std::unique_ptr<EpochCoordinator>> EpochCoordinator::make(Machine& machine,
                                                                 std::function<void()> released,
                                                                 std::function<bool()> io_over) {
  DVM_ASSIGN(auto log, hyperkernel::UndoLog::of(machine.pool()));
  DVM_ASSIGN(auto sums, hyperkernel::PageSums::of(machine.pool()));
  DVM_ASSIGN(const auto directory, hyperkernel::PageDirectory::of(machine.pool()));
  DVM_ASSIGN(auto frames, hyperkernel::GuestView::map(machine.pool(), directory,
                                                      ram_layout(machine.config().memory_bytes)));
  return std::unique_ptr<EpochCoordinator>(
      new EpochCoordinator(machine, std::move(released), std::move(io_over), std::move(log),
                           std::move(sums), std::move(frames)));
}

bool EpochCoordinator::step(EpochWord from, EpochStep how) {
  if (!take_epoch_step(record_.word, from, how)) return false;
  fabric::ring(record_.bell);
  return true;
}

// Who had it before may have died before output was released: an epoch ends at once.
bool EpochCoordinator::has_role() {
  if (fabric::InstanceId::unpack(record_.coordinator.load()) == machine_.self()) return true;
  if (!fabric::claim(record_.coordinator, machine_.self(), machine_.instances())) return false;
  record_.opened_ns.store(0);
  served_before_ = record_.figures.served_ns.load();
  catch_up_sums();
  return true;
}

// Of the epoch before this one, whose end somebody died in; unless the next one's had begun, and
// what it wrote is forgotten.
void EpochCoordinator::catch_up_sums() {
  const u32 epoch = word().epoch;
  const u32 before = record_.log[(epoch + 1) % 2].load(), number = record_.log[epoch % 2].load();
  if (sums_.epoch() == epoch) return;
  const fabric::UrgentNoMore as_long_as_it_takes;
  if (before < number) return sums_.follow(log_, before, number, epoch, frames_.memory());
  sums_.forget();
  sums_.set_epoch(epoch);
}

u64 EpochCoordinator::look(const Answer& answer) {
  const u64 later = fabric::monotonic_ns() + kIdleNs;
  if (!has_role()) return later;
  const EpochWord now = word();
  switch (now.stage) {
    case EpochStage::open:
      if (!may_end()) return fabric::monotonic_ns() + kLeastNs;
      if (due() > fabric::monotonic_ns()) return due();
      end_epoch(answer);
      return due();
    // Of one that died in it.
    case EpochStage::stopping:
    case EpochStage::closing:
      step(now, EpochStep::call_off);
      machine_.ring_everyone();
      return fabric::monotonic_ns() + kLeastNs;
    case EpochStage::rolling: roll_back(now, answer); return fabric::monotonic_ns() + kLeastNs;
  }
  return later;
}

// Five times what one costs, at least: output does not wait long, and the guest gets on. Where
// faults take long (nested virtualisation), and all vCPUs share few processors, they would else do
// nothing but serve their timers.
u64 EpochCoordinator::due() const {
  const u64 period = u64{record_.period_ms.load()} * 1'000'000;
  const u64 worth = 5 * cost_ns_;
  const u64 most = std::clamp(worth, period, kStretch * period);
  const u64 soon = std::max(kLeastNs, worth);
  const u64 length = record_.output_waits.load() != 0 ? std::min(most, soon) : most;
  return record_.opened_ns.load() + length;
}

// A guest that runs, all of it.
bool EpochCoordinator::may_end() const {
  const MachineState& s = machine_.state();
  if (s.control.phase.load() != Phase::running || s.control.power_fails.load() != 0 ||
      s.control.checkpoint.load() != 0)
    return false;
  for (u32 i = 0; i < s.config.vcpus; ++i) {
    const VcpuRecord& v = s.vcpus[i];
    if (v.run_state.load() == VcpuRunState::absent || v.where().stage != PlaceStage::settled)
      return false;
  }
  return true;
}

bool EpochCoordinator::wait_until(const std::function<bool()>& enough, EpochWord now,
                                  u64 longest_ns) const {
  const u64 end = fabric::monotonic_ns() + longest_ns;
  for (;;) {
    const u32 seen = fabric::listen(record_.bell);
    if (enough()) return true;
    if (word() != now || fabric::monotonic_ns() >= end) return false;
    fabric::wait(record_.bell, seen, std::min(end, fabric::monotonic_ns() + kLeastNs));
  }
}

// Those of the dead have nobody to answer when the machine rolls back.
bool EpochCoordinator::await_vcpus(EpochWord now, bool rolling) const {
  const MachineState& s = machine_.state();
  const auto all_stand = [&] {
    for (u32 i = 0; i < s.config.vcpus; ++i) {
      if (record_.answered[i].load() == now.packed()) continue;
      if (!rolling || machine_.is_alive(s.vcpus[i].node())) return false;
    }
    return true;
  };
  const auto enough = [&] {
    const Phase phase = s.control.phase.load();
    return phase == Phase::stopped || phase == Phase::resetting || all_stand();
  };
  return wait_until(enough, now, kPatienceNs) && all_stand();
}

bool EpochCoordinator::await_members(EpochWord now, const Answer& answer) const {
  answer(now);
  const auto enough = [&] {
    return std::ranges::all_of(record_.members, [&](const EpochMemberRecord& m) {
      const u64 owner = m.instance.load();
      return owner == 0 || m.answered.load() == now.packed() ||
             machine_.instances().is_stale(fabric::InstanceId::unpack(owner));
    });
  };
  return wait_until(enough, now, kPatienceNs);
}

void EpochCoordinator::end_epoch(const Answer& answer) {
  EpochFigures& figures = record_.figures;
  const u64 begin = fabric::monotonic_ns();
  const EpochWord open = word();
  record_.log[(open.epoch + 1) % 2].store(
      next_log_number(record_.log[0].load(), record_.log[1].load(), open.epoch + 1));
  if (!step(open, EpochStep::stop)) return;
  const EpochWord stopping = word();
  fabric::failpoint("epoch.stopping");
  for (u32 i = 0; i < machine_.config().vcpus; ++i) machine_.kick(i, std::nullopt);
  bool ended = false;
  if (await_vcpus(stopping, false)) {
    figures.last_stop_ns.store(ns_since(begin));
    bool mended = true;
    {
      const AllCells cells(machine_);
      if (cells.from_dead()) {
        mended = false;
      } else if (step(stopping, EpochStep::close)) {
        const EpochWord closing = word();
        fabric::failpoint("epoch.closing");
        const u64 closes = fabric::monotonic_ns();
        ended = await_members(closing, answer);
        figures.last_protect_ns.store(ns_since(closes));
        ended = ended && close(closing);
      }
    }
    if (!mended) machine_.mend_devices();
  }
  const EpochWord now = word();
  if (ended) {
    machine_.ring_everyone();
    const u64 pause = ns_since(begin);
    figures.last_pause_ns.store(pause);
    figures.pause_sum_ns.fetch_add(pause);
    const u64 served = figures.served_ns.load();
    cost_ns_ = pause + kBothSides * (served - std::exchange(served_before_, served));
    if (pause > figures.longest_pause_ns.load()) figures.longest_pause_ns.store(pause);
    const u32 number = record_.log[open.epoch % 2].load();
    const fabric::UrgentNoMore as_long_as_it_takes;
    sums_.follow(log_, number, record_.log[now.epoch % 2].load(), now.epoch, frames_.memory());
    return give_back_log(number);
  }
  if (now.turn == stopping.turn && step(now, EpochStep::call_off)) {
    figures.called_off.fetch_add(1);
    record_.opened_ns.store(fabric::monotonic_ns());
  }
  machine_.ring_everyone();
}

// The caller has all cells.
bool EpochCoordinator::close(EpochWord closing) {
  const u64 begin = fabric::monotonic_ns();
  GuestBank& bank = record_.banks[(closing.epoch + 1) % 2];
  const u32 next = closing.epoch + 1;
  fill_bank(machine_.state(), bank, machine_.guest_tsc(), {next, record_.log[next % 2].load()});
  record_.figures.pages_saved.fetch_add(log_.taken(record_.log[closing.epoch % 2].load()));
  record_.opened_ns.store(begin);
  fabric::failpoint("epoch.filled");
  if (!step(closing, EpochStep::commit)) return false;
  fabric::failpoint("epoch.committed");
  record_.figures.commits.fetch_add(1);
  record_.figures.last_close_ns.store(ns_since(begin));
  release_output(machine_);
  if (released_) released_();
  return true;
}

// What an epoch at its busiest took is not kept for ever. Each half in turn, while none is saved
// for the epoch to come.
void EpochCoordinator::give_back_log(u32 ended) {
  constexpr u32 kEvery = 64;
  most_slots_ = std::max(most_slots_, log_.taken(ended));
  if (++ends_ < kEvery) return;
  log_.give_back(ended, most_slots_ + most_slots_ / 4);
  if (ends_ > kEvery) most_slots_ = ends_ = 0;
}

}  // namespace dvm::vmm
