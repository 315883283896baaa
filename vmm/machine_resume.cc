#include "vmm/machine_resume.h"

#include <x86intrin.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "fabric/fabric_state.h"
#include "fabric/failpoint.h"
#include "hyperkernel/page_sums.h"
#include "vmm/all_cells.h"
#include "vmm/epoch_output.h"
#include "vmm/resume_memory.h"

namespace dvm::vmm {
namespace {

using fabric::RegionKind;

// In whose hands requests are that were under way: nobody's that ever joins.
constexpr u8 kLostInstance = fabric::kMaxInstances - 2;

Result<ResumeRecords> records_of(const fabric::Pool& pool) {
  ResumeRecords all;
  DVM_ASSIGN(all.machine, pool.record<MachineState>(RegionKind::machine, kMachineVersion));
  DVM_ASSIGN(all.resume, pool.record<ResumeRecord>(RegionKind::resume, kResumeVersion));
  const bool epochs = all.machine->config.protection == Protection::epoch;
  if (epochs != pool.has_region(RegionKind::epoch))
    return error("pool {}: its protection and its regions do not match", pool.name());
  if (epochs) {
    DVM_ASSIGN(all.epoch, pool.record<EpochRecord>(RegionKind::epoch, kEpochVersion));
  }
  return all;
}

// What the guest said and nobody has read yet lies in a ring.
Status check_ring(const ConsoleOut& ring, u64 produced, const char* name) {
  const u64 consumed = ring.consumed.load();
  if (consumed <= produced && produced - consumed <= ConsoleOut::kBytes) return {};
  return error("{}: {} bytes said, {} read", name, produced, consumed);
}

// What the guest goes on from; nullptr: it boots.
const GuestBank* bank_of(const ResumeRecords& records, ResumePoint point) {
  if (point == ResumePoint::start) return nullptr;
  if (point == ResumePoint::save) return &records.resume->bank;
  return &records.epoch->banks[EpochWord::unpack(records.epoch->word.load()).epoch % 2];
}

// Regions of the fabric's, as they begin. Generations go on growing: what processes that are gone
// have in flight at disks is theirs by these (srt/image_lock.h).
Status renew_fabric(const fabric::Pool& pool) {
  for (const auto& [kind, version] :
       {std::pair{RegionKind::events, fabric::kEventsVersion},
        std::pair{RegionKind::membership, fabric::kMembershipVersion},
        std::pair{RegionKind::faults, fabric::kFaultsVersion},
        std::pair{RegionKind::health, fabric::kHealthVersion},
        std::pair{RegionKind::locality, locality::kLocalityVersion}}) {
    DVM_ASSIGN(const auto bytes, pool.region(kind, version));
    std::memset(bytes.data(), 0, bytes.size());
  }
  DVM_ASSIGN(auto* instances, pool.new_record<fabric::InstanceTable>(RegionKind::instances,
                                                                     fabric::kInstancesVersion));
  for (u32 id = 0; id < fabric::kMaxInstances; ++id) {
    const auto& slot = instances->slots[id];
    if (!instances->has_ended(id))
      instances->retire({id, slot.generation.load()}, fabric::InstanceState::dead);
  }
  return {};
}

// All but what the machine is, what tells where to go on from, and rings that somebody may still
// want to read.
void renew_machine(MachineState& state, const fabric::InstanceTable& instances, ResumePoint point,
                   std::span<const u16> placement) {
  const auto fresh = std::make_unique<MachineState>();
  const auto keep = [](auto& to, const auto& from) {
    std::memcpy(static_cast<void*>(&to), static_cast<const void*>(&from), sizeof(to));
  };
  if (point != ResumePoint::start) {
    keep(fresh->entry, state.entry);
    keep(fresh->console, state.console);
    keep(fresh->virtio_console, state.virtio_console);
    keep(fresh->firmware_log, state.firmware_log);
  }
  for (u32 i = 0; i < kMaxFunctions; ++i)
    fresh->functions[i].capacity.store(state.functions[i].capacity.load());
  for (u32 i = 0; i < state.config.nodes; ++i) fresh->nodes[i].stage.store(NodeStage::starting);
  // Servers of disks are new ones.
  for (u32 i = 0; i < layout::kMaxNodes; ++i)
    fresh->nodes[i].servers_fenced.store(instances.slots[kFirstNodeInstance + i].generation.load());
  for (u32 i = 0; i < state.config.vcpus; ++i) {
    const bool boots = point == ResumePoint::start;
    const VcpuPlace place{.node = static_cast<u8>(placement[i]),
                          .stage = boots ? PlaceStage::settled : PlaceStage::arriving};
    fresh->vcpus[i].place.store(place.packed());
    fresh->vcpus[i].run_state.store(boots ? VcpuRunState::absent : VcpuRunState::outside);
  }
  open_net_record(fresh->net);
  constexpr std::size_t kTail = offsetof(MachineState, entry);
  std::memcpy(reinterpret_cast<std::byte*>(&state) + kTail,
              reinterpret_cast<const std::byte*>(fresh.get()) + kTail, sizeof(state) - kTail);
}

void renew_epochs(EpochRecord& epoch) {
  for (EpochMemberRecord& member : epoch.members) {
    member.instance.store(0);
    member.answered.store(0);
  }
  for (auto& answered : epoch.answered) answered.store(0);
  epoch.coordinator.store(0);
  epoch.opened_ns.store(fabric::monotonic_ns());
  epoch.output_waits.store(0);
  EpochWord word = EpochWord::unpack(epoch.word.load());
  word.stage = EpochStage::open;
  epoch.word.store(word.packed());
}

// Where a guest boots anew, its devices are those of a machine before its reset.
Status put_back(Machine& machine, const ResumeRecords& records, ResumePoint point) {
  MachineState& state = *records.machine;
  EpochRecord* const epoch = records.epoch;
  u64 pages = 0;
  if (point == ResumePoint::epoch) {
    DVM_ASSIGN(pages, put_memory_back(machine.pool(), records));
  }
  if (const GuestBank* const bank = bank_of(records, point)) {
    const AllCells cells(machine);
    restore_bank(state, *bank, kLostInstance + 1);
    for (u32 i = 0; i < state.config.vcpus; ++i) state.vcpu_states[i] = bank->vcpus[i].state;
  }
  // It boots anew from disks that were nobody's meanwhile, and requests in hand are not done again.
  if (point == ResumePoint::start && machine.replicas() != nullptr)
    machine.replicas()->forget_all();
  DVM_TRY(check_ring(state.console, state.serial.published().tx_count, "serial port"));
  DVM_ASSIGN(auto sums, hyperkernel::PageSums::of(machine.pool()));
  // Without epochs nothing follows what the guest writes from here on.
  if (epoch == nullptr) sums.set_epoch(0);
  if (epoch == nullptr) return {};
  epoch->figures.last_roll_pages.store(pages);
  for (auto& release : state.net.release) release.store(0);
  renew_epochs(*epoch);
  if (point == ResumePoint::save) begin_epoch_with(*epoch, state, records.resume->bank, sums);
  release_output(machine);
  return {};
}

// From the last store on the pool is that of a machine whose nodes start.
void let_go_on(MachineControl& control, ResumePoint point, const ResumeRecord& record) {
  const bool paused = point == ResumePoint::save ? record.paused.load() != 0
                                                 : control.phase.load() == Phase::paused;
  for (auto& saved : control.saved) saved.store(0);
  control.reset_owner.store(0);
  control.power_button_presses.store(0);
  control.resumed.store(1 + static_cast<u32>(point));
  control.phase.store(point == ResumePoint::start ? Phase::resetting
                      : paused                    ? Phase::paused
                                                  : Phase::running);
  control.stop_reason.store(StopReason::none);
  control.power_fails.store(0);
  control.checkpoint.store(0);
}

}  // namespace

Status check_tsc(std::string_view name, u64 was, u64 now) {
  // Another one's would make all of the guest's clocks run fast or slow: 0.1 %.
  constexpr u64 kTolerance = 1000;
  if (now <= was + was / kTolerance && now >= was - was / kTolerance) return {};
  return error("--resume {}: the guest's TSC runs at {} kHz, this host's at {}", name, was, now);
}

void begin_epoch_with(EpochRecord& epoch, const MachineState& state, const GuestBank& saved,
                      hyperkernel::PageSums sums) {
  EpochWord word = EpochWord::unpack(epoch.word.load());
  const u32 next = word.epoch + 1;
  const u32 number = next_log_number(epoch.log[0].load(), epoch.log[1].load(), next);
  GuestBank& bank = epoch.banks[next % 2];
  std::memcpy(static_cast<void*>(&bank), &saved, sizeof(bank));
  fill_bank(state, bank, saved.guest_tsc, {next, number});
  epoch.log[next % 2].store(number);
  if (sums.epoch() != hyperkernel::PageSums::kAtRest) sums.forget();
  sums.set_epoch(next);
  word.epoch = next;
  epoch.word.store(word.packed());
}

Result<ResumablePool> open_resumable(const std::string& path, u64 patience_ms) {
  const auto unfit = [&](const Error& why) { return error("--resume {}: {}", path, why.message); };
  auto pool = fabric::Pool::reopen(path, patience_ms);
  if (!pool.ok()) return pool.error();
  if (pool->has_region(RegionKind::coherence))
    return unfit(error("with --coherence software its memory was in the nodes that are gone"));
  const auto records = records_of(*pool);
  if (!records.ok()) return records.error();
  const auto point = resume_point(*records->machine, records->epoch, *records->resume);
  if (!point.ok()) return unfit(point.error());
  if (const Status whole = check_memory(*pool, *records, *point); !whole.ok())
    return unfit(whole.error());
  auto launch = launch_of(*records->resume);
  if (!launch.ok()) return unfit(launch.error());
  ResumablePool found{.pool = pool.take(),
                      .point = *point,
                      .config = records->machine->config,
                      .capacity = {},
                      .launch = launch.take()};
  for (u32 i = 0; i < kMaxFunctions; ++i)
    found.capacity[i] = records->machine->functions[i].capacity.load();
  return found;
}

Result<std::unique_ptr<Machine>> resume_machine(ResumablePool resumable, const MachineSpec& spec) {
  fabric::Pool& pool = resumable.pool;
  DVM_TRY(check_tsc(pool.name(), resumable.config.tsc_khz, spec.config.tsc_khz));
  DVM_ASSIGN(const ResumeRecords records, records_of(pool));
  DVM_TRY(renew_fabric(pool));
  DVM_ASSIGN(auto directory, hyperkernel::PageDirectory::of(pool));
  directory.reset();
  DVM_ASSIGN(auto* instances, pool.new_record<fabric::InstanceTable>(RegionKind::instances,
                                                                     fabric::kInstancesVersion));
  renew_machine(*records.machine, *instances, resumable.point, spec.placement);
  DVM_ASSIGN(auto* where, pool.new_record<locality::LocalityRecord>(RegionKind::locality,
                                                                    locality::kLocalityVersion));
  where->policy.store(spec.policy);
  MachineControl& control = records.machine->control;
  const GuestBank* const bank = bank_of(records, resumable.point);
  control.tsc_offset.store((bank == nullptr ? 0 : bank->guest_tsc) - __rdtsc());
  if (records.resume->owns_file != 0) pool.own_file();
  DVM_ASSIGN(auto machine, Machine::attach(std::move(pool), kLauncherInstance));
  fabric::failpoint("resume.renewed");
  DVM_TRY(put_back(*machine, records, resumable.point));
  fabric::failpoint("resume.put_back");
  let_go_on(control, resumable.point, *records.resume);
  records.resume->resumptions.fetch_add(1);
  return machine;
}

bool keep_save(Machine& machine) {
  const MachineState& state = machine.state();
  ResumeRecord& record = machine.resume_record();
  if (!machine.can_be_saved() || rolls_back(machine.epoch())) return false;
  for (u32 i = 0; i < state.config.vcpus; ++i) {
    if (state.control.saved[i].load() == 0) return false;
    record.bank.vcpus[i].state = state.vcpu_states[i];
  }
  machine.mend_devices();
  {
    const AllCells cells(machine);
    fill_bank(state, record.bank, machine.guest_tsc());
  }
  record.saved.store(kSavedWhole);
  // Without them it can be gone on with, too.
  if (const auto records = records_of(machine.pool()); records.ok())
    (void)sum_memory(machine.pool(), *records);
  return true;
}

}  // namespace dvm::vmm
