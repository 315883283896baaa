#include "vmm/machine.h"

#include <unistd.h>
#include <x86intrin.h>

#include <new>

#include "fabric/crc32c.h"
#include "fabric/fabric_state.h"
#include "hyperkernel/coherence_record.h"
#include "hyperkernel/page_sums.h"
#include "vmm/boot/e820.h"
#include "vmm/checkpoint/origin.h"
#include "vmm/firmware/fw_cfg_files.h"
#include "vmm/ram_place.h"
#include "vmm/resume_record.h"

namespace dvm::vmm {
using fabric::RegionKind;
namespace {

// The table's size; no buckets: there is to be none. A pool that cannot have holes keeps no copies
// of its own, which would take room that nothing else could have.
srt::ReplicaSize size_of_replicas(const MachineSpec& spec) {
  if (!spec.replica_bytes) return {};
  srt::ReplicaSize size = srt::replica_size(spec.config.memory_bytes, *spec.replica_bytes);
  if (!fabric::takes_holes(spec.pool_path)) size.kept_frames = 0;
  return size;
}

}  // namespace

Result<fabric::Pool> Machine::make_pool(const MachineSpec& spec, const srt::ReplicaSize& replicas) {
  fabric::PoolSpec pool;
  const u64 pages = directory_pages(spec.config);
  const u64 shared_frames = spec.coherence ? spec.coherence->coherent_bytes / kPageBytes : 0;
  pool.path = spec.pool_path;
  pool.name = spec.config.name.data();
  pool.frames_bytes = (ram_frames(spec.config) + shared_frames + replicas.kept_frames) * kPageBytes;
  pool.spare_bytes = (ram_frames(spec.config) - pages) * kPageBytes;
  pool.metadata = {
      {RegionKind::instances, fabric::kInstancesVersion, sizeof(fabric::InstanceTable)},
      {RegionKind::events, fabric::kEventsVersion, sizeof(fabric::EventLog)},
      {RegionKind::machine, kMachineVersion, sizeof(MachineState)},
      {RegionKind::membership, fabric::kMembershipVersion, sizeof(fabric::FabricState)},
      {RegionKind::faults, fabric::kFaultsVersion, sizeof(fabric::FaultBoard)},
      {RegionKind::health, fabric::kHealthVersion, sizeof(fabric::HealthTable)},
      {RegionKind::locality, locality::kLocalityVersion, sizeof(locality::LocalityRecord)},
      {RegionKind::page_directory, hyperkernel::kPageDirectoryVersion,
       hyperkernel::page_directory_bytes(pages)},
      {RegionKind::resume, kResumeVersion, sizeof(ResumeRecord)}};
  if (spec.coherence) {
    pool.metadata.push_back({RegionKind::coherence, hyperkernel::kCoherenceVersion,
                             hyperkernel::coherence_region_bytes(
                                 spec.config.memory_bytes / kPageBytes, shared_frames)});
  }
  if (spec.config.protection != Protection::none && !spec.coherence) {
    pool.metadata.push_back(
        {RegionKind::sums, hyperkernel::kSumsVersion,
         hyperkernel::sums_region_bytes(spec.config.memory_bytes / kPageBytes)});
  }
  if (spec.config.protection == Protection::epoch) {
    pool.metadata.push_back({RegionKind::epoch, kEpochVersion, sizeof(EpochRecord)});
    pool.metadata.push_back(
        {RegionKind::undo, hyperkernel::kUndoVersion,
         hyperkernel::undo_region_bytes(spec.config.memory_bytes / kPageBytes)});
  }
  if (replicas.buckets != 0)
    pool.metadata.push_back({RegionKind::replicas, srt::kReplicasVersion, replicas.region_bytes()});
  if (spec.has_origin) {
    pool.metadata.push_back(
        {RegionKind::origin, hyperkernel::kOriginVersion,
         hyperkernel::origin_region_bytes(spec.config.memory_bytes / kPageBytes)});
  }
  return fabric::Pool::create(pool);
}

Result<std::unique_ptr<Machine>> Machine::create(const MachineSpec& spec) {
  DVM_ASSIGN(fabric::Pool pool, format(spec));
  DVM_ASSIGN(auto machine, attach(std::move(pool), kLauncherInstance));
  DVM_TRY(machine->renew_generation(false));
  return machine;
}

Result<fabric::Pool> Machine::format(const MachineSpec& spec) {
  DVM_TRY(check_config(spec.config, spec.config.name.data()));
  if (spec.launch.size() > kMaxLaunchBytes)
    return usage_error("how it is launched takes {} bytes; allowed: {}", spec.launch.size(),
                       kMaxLaunchBytes);
  const srt::ReplicaSize replicas = size_of_replicas(spec);
  DVM_ASSIGN(fabric::Pool pool, make_pool(spec, replicas));
  if (replicas.buckets != 0) {
    DVM_ASSIGN(const auto frames, pool.region_header(RegionKind::frames, 1));
    const u64 kept_bytes = replicas.kept_frames * kPageBytes;
    DVM_TRY(srt::ReplicaTable::format(pool, replicas, frames.offset + frames.bytes - kept_bytes));
  }
  DVM_ASSIGN(auto directory, hyperkernel::PageDirectory::of(pool));
  DVM_TRY(lay_out_pages(pool, spec, directory));
  DVM_ASSIGN(auto* state, pool.new_record<MachineState>(RegionKind::machine, kMachineVersion));
  std::construct_at(state);
  state->config = spec.config;
  state->config.checksum = config_checksum(state->config);
  state->control.tsc_offset.store(spec.tsc_offset);
  open_net_record(state->net);
  state->control.outlives.store(pool.path().empty() ? 0 : 1);
  DVM_ASSIGN(auto* resume, pool.new_record<ResumeRecord>(RegionKind::resume, kResumeVersion));
  open_resume_record(*resume, spec.launch, pool.created_file());
  DVM_ASSIGN(auto* where, pool.new_record<locality::LocalityRecord>(RegionKind::locality,
                                                                    locality::kLocalityVersion));
  where->policy.store(spec.policy);
  if (pool.has_region(RegionKind::sums))
    DVM_TRY(hyperkernel::PageSums::format(pool, spec.config.memory_bytes / kPageBytes));
  if (spec.config.protection == Protection::epoch) {
    DVM_ASSIGN(auto* epoch, pool.new_record<EpochRecord>(RegionKind::epoch, kEpochVersion));
    open_epoch_record(*epoch, state->net, spec.epoch_ms);
    DVM_TRY(hyperkernel::UndoLog::format(pool, spec.config.memory_bytes / kPageBytes));
  }
  for (u32 i = 0; i < spec.config.vcpus; ++i) {
    const VcpuPlace place{.node = static_cast<u8>(spec.placement[i])};
    state->vcpus[i].place.store(place.packed());
  }
  for (u32 i = 0; i < spec.config.nodes; ++i) state->nodes[i].stage.store(NodeStage::starting);
  for (u32 i = 0; i < kMaxFunctions; ++i) state->functions[i].capacity.store(spec.capacity[i]);
  state->control.phase.store(Phase::resetting, std::memory_order_release);
  return pool;
}

// RAM at home, all else shared; the coherent region lies behind the frames that pages begin in.
Status Machine::lay_out_pages(const fabric::Pool& pool, const MachineSpec& spec,
                              hyperkernel::PageDirectory& directory) {
  if (!spec.coherence) return {};  // as it is
  const u64 ram_pages = spec.config.memory_bytes / kPageBytes;
  directory.begin_at_home(ram_pages);
  return hyperkernel::Coherence::format(
      pool, {.pages = ram_pages,
             .first_frame = directory_pages(spec.config),
             .shared_frames = spec.coherence->coherent_bytes / kPageBytes,
             .local_pages = spec.coherence->local_bytes / kPageBytes});
}

Result<std::unique_ptr<Machine>> Machine::attach(fabric::Pool pool, u32 instance_id) {
  if (instance_id >= fabric::kMaxInstances)
    return error("instance id {} is out of range", instance_id);
  std::unique_ptr<Machine> machine(new Machine());
  DVM_TRY(machine->open(std::move(pool)));
  machine->self_ = machine->instances_->join(instance_id, ::getpid());
  if (machine->pool_.has_region(RegionKind::replicas)) {
    DVM_ASSIGN(machine->replicas_,
               srt::ReplicaTable::of(machine->pool_, machine->self_, *machine->instances_));
  }
  return machine;
}

Status Machine::open(fabric::Pool pool) {
  pool_ = std::move(pool);
  DVM_ASSIGN(state_, pool_.record<MachineState>(RegionKind::machine, kMachineVersion));
  DVM_ASSIGN(instances_,
             pool_.record<fabric::InstanceTable>(RegionKind::instances, fabric::kInstancesVersion));
  DVM_ASSIGN(events_, pool_.record<fabric::EventLog>(RegionKind::events, fabric::kEventsVersion));
  const auto fabric =
      pool_.record<fabric::FabricState>(RegionKind::membership, fabric::kMembershipVersion);
  if (!fabric.ok()) return fabric.error();
  DVM_ASSIGN(place_.board,
             pool_.record<fabric::FaultBoard>(RegionKind::faults, fabric::kFaultsVersion));
  DVM_ASSIGN(place_.health,
             pool_.record<fabric::HealthTable>(RegionKind::health, fabric::kHealthVersion));
  DVM_ASSIGN(locality_, pool_.record<locality::LocalityRecord>(RegionKind::locality,
                                                               locality::kLocalityVersion));
  if (pool_.has_region(RegionKind::epoch)) {
    DVM_ASSIGN(epoch_, pool_.record<EpochRecord>(RegionKind::epoch, kEpochVersion));
  }
  DVM_ASSIGN(resume_, pool_.record<ResumeRecord>(RegionKind::resume, kResumeVersion));
  place_.events = events_;
  place_.metadata = pool_.metadata();
  DVM_ASSIGN(const auto directory, hyperkernel::PageDirectory::of(pool_));
  view_.store(&views_[0].emplace());
  if (!has_software_coherence()) {
    views_[0].reset();
    viewed_.store(state_->control.boots.load());
    DVM_ASSIGN(const auto* view, view_of(viewed_.load()));
    view_.store(view);
    DVM_TRY(open_origin());
    DVM_ASSIGN(release_, hyperkernel::PageRelease::of(pool_, directory,
                                                      ram_layout(state_->config.memory_bytes)));
  }
  return has_firmware() ? open_firmware(directory) : Status();
}

void Machine::use_memory(std::byte* base) {
  const auto layout = ram_layout(state_->config.memory_bytes);
  views_[0] =
      base == nullptr ? hyperkernel::GuestView() : hyperkernel::GuestView::over(base, layout);
  view_.store(&*views_[0]);
}

Status Machine::open_firmware(const hyperkernel::PageDirectory& directory) {
  const MachineConfig& config = state_->config;
  DVM_ASSIGN(auto rom,
             hyperkernel::GuestView::map(pool_, directory, {firmware_part(config.memory_bytes)}));
  rom_view_ = std::move(rom);
  FirmwareMachine machine{
      .vcpus = config.vcpus, .memory_bytes = config.memory_bytes, .watchdog = config.watchdog != 0};
  for (u32 i = 0; i < kMaxFunctions; ++i) {
    if (config.functions[i].kind == FunctionKind::block)  // in the order in which they were given
      machine.boot_order.push_back(disk_path(function_slot(i)));
  }
  DVM_ASSIGN(fw_cfg_, make_fw_cfg(machine));
  return {};
}

Status Machine::check_cpu_model() const {
  DVM_ASSIGN(const auto where, pool_.region_header(RegionKind::machine, kMachineVersion));
  return check_cpu(state_->cpu, {pool_.name(), "machine", where.offset, state_});
}

u64 Machine::guest_tsc() const {
  return __rdtsc() + state_->control.tsc_offset.load(std::memory_order_relaxed);
}

u64 Machine::now_ns() const {
  return static_cast<u64>(static_cast<u128>(guest_tsc()) * 1'000'000 / state_->config.tsc_khz);
}

u64 Machine::tsc_to_monotonic_ns(u64 guest_deadline) const {
  // The two clocks as close together as we get them: a thread that is preempted in between would
  // compute a time that is off by its absence.
  const u64 close_enough = state_->config.tsc_khz / 100;  // 10 us
  u64 before = 0, host_now = 0, tsc_now = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    before = guest_tsc();
    host_now = fabric::monotonic_ns();
    tsc_now = guest_tsc();
    if (tsc_now - before < close_enough) break;
  }
  if (guest_deadline <= tsc_now) return host_now;
  const u128 ns =
      static_cast<u128>(guest_deadline - tsc_now) * 1'000'000 / state_->config.tsc_khz + 1;
  constexpr u64 kForever =
      1ull << 62;  // a guest may ask for any deadline; the host's clock must not wrap
  return ns > kForever - host_now ? kForever : host_now + static_cast<u64>(ns);
}

}  // namespace dvm::vmm
