#include "vmm/pool_check.h"

#include <cstring>

#include "fabric/fabric_state.h"
#include "hyperkernel/coherence_record.h"
#include "hyperkernel/page_sums.h"
#include "vmm/resume_record.h"

namespace dvm::vmm {
namespace {

using fabric::RegionKind;

Status check_header_now(Machine& machine) {
  fabric::PoolHeader now{};
  std::memcpy(&now, machine.pool().metadata().data(), sizeof(now));
  return check_header(now, machine.pool().header().total_bytes, machine.pool().name());
}

// As whoever attaches would open it.
template <typename T>
Status check_as(Machine& machine, RegionKind kind, u32 version) {
  const auto record = machine.pool().record<T>(kind, version);
  return record.ok() ? Status() : record.error();
}

// Only the events that were whole when we began: what is written meanwhile is not judged.
Status check_events(Machine& machine) {
  using fabric::EventLog;
  DVM_ASSIGN(const auto region,
             machine.pool().region_header(RegionKind::events, fabric::kEventsVersion));
  const EventLog& log = machine.events();
  const fabric::RecordPlace place{machine.pool().name(), "events", region.offset, &log};
  const u64 tail = log.tail.load(std::memory_order_acquire);
  for (u64 n = tail > EventLog::kEvents ? tail - EventLog::kEvents : 0; n < tail; ++n) {
    const fabric::Event& slot = log.ring[n % EventLog::kEvents];
    const fabric::Event event = slot;
    if (log.tail.load(std::memory_order_acquire) > n + EventLog::kEvents / 2) continue;
    if (event.sequence != n + 1)
      return place.wrong(&slot, "event {} says that it is {}", n + 1, event.sequence);
    if (event.kind == fabric::EventKind::none || event.kind > fabric::kLastEventKind) {
      return place.wrong(&slot.kind, "event {}: unknown kind {:#x}", n + 1,
                         static_cast<u32>(event.kind));
    }
  }
  return {};
}

Status check_directory(Machine& machine) {
  DVM_ASSIGN(const auto directory, hyperkernel::PageDirectory::of(machine.pool()));
  DVM_ASSIGN(const auto frames, machine.pool().region_header(RegionKind::frames, 1));
  return directory.check(frames.bytes / kPageBytes);
}

Status check_coherence(Machine& machine) {
  if (!machine.has_software_coherence()) return {};
  const auto coherence = hyperkernel::Coherence::of(machine.pool());
  return coherence.ok() ? Status() : coherence.error();
}

Status check_epochs(Machine& machine) {
  if (machine.epoch() == nullptr) return {};
  DVM_TRY(check_as<EpochRecord>(machine, RegionKind::epoch, kEpochVersion));
  const auto log = hyperkernel::UndoLog::of(machine.pool());
  return log.ok() ? Status() : log.error();
}

Status check_resumption(Machine& machine) {
  const auto launch = launch_of(machine.resume_record());
  if (!launch.ok()) return launch.error();
  if (!machine.pool().has_region(RegionKind::sums)) return {};
  const auto sums = hyperkernel::PageSums::of(machine.pool());
  return sums.ok() ? Status() : sums.error();
}

}  // namespace

std::vector<std::string> check_pool(Machine& machine) {
  using namespace fabric;
  std::vector<std::string> all;
  for (const Status& status :
       {check_header_now(machine),
        check_as<MachineState>(machine, RegionKind::machine, kMachineVersion),
        check_as<InstanceTable>(machine, RegionKind::instances, kInstancesVersion),
        check_as<FabricState>(machine, RegionKind::membership, kMembershipVersion),
        check_as<FaultBoard>(machine, RegionKind::faults, kFaultsVersion),
        check_as<EventLog>(machine, RegionKind::events, kEventsVersion), check_events(machine),
        check_as<locality::LocalityRecord>(machine, RegionKind::locality,
                                           locality::kLocalityVersion),
        check_directory(machine), check_coherence(machine), check_epochs(machine),
        check_resumption(machine)}) {
    if (!status.ok()) all.push_back(status.error().message);
  }
  return all;
}

}  // namespace dvm::vmm
