#include "vmm/pool_check.h"

#include <cstring>

#include "fabric/fabric_state.h"

namespace dvm::vmm {
namespace {

using fabric::RegionKind;

class Findings {
 public:
  Findings(Machine& machine, std::string_view record, RegionKind kind, u32 version)
      : pool_(machine.pool()), record_(record) {
    if (const auto region = pool_.region_header(kind, version); region.ok())
      offset_ = region->offset;
  }
  // `at`: bytes from the start of the region.
  void add(u64 at, const std::string& what) {
    if (lines_.size() < kMostOfARecord)
      lines_.push_back(fmt::format("pool {}: record {}: {} at offset {:#x}", pool_.name(), record_,
                                   what, offset_ + at));
  }
  void move_to(std::vector<std::string>& all) {
    for (std::string& line : lines_) all.push_back(std::move(line));
  }

 private:
  const fabric::Pool& pool_;
  const std::string_view record_;
  u64 offset_ = 0;
  std::vector<std::string> lines_;
};

void check_header_now(Machine& machine, std::vector<std::string>& all) {
  fabric::PoolHeader now{};
  std::memcpy(&now, machine.pool().metadata().data(), sizeof(now));
  const auto ok = check_header(now, machine.pool().header().total_bytes, machine.pool().name());
  if (!ok.ok()) all.push_back(ok.error().message);
}

// Only the events that were whole when we began: what is written meanwhile is not judged.
void check_events(Machine& machine, std::vector<std::string>& all) {
  using fabric::EventLog;
  Findings found(machine, "events", RegionKind::events, fabric::kEventsVersion);
  const EventLog& log = machine.events();
  const u64 tail = log.tail.load(std::memory_order_acquire);
  const u64 oldest = tail > EventLog::kEvents ? tail - EventLog::kEvents : 0;
  for (u64 n = oldest; n < tail; ++n) {
    const u64 slot = n % EventLog::kEvents;
    const fabric::Event event = log.ring[slot];
    if (log.tail.load(std::memory_order_acquire) > n + EventLog::kEvents / 2) continue;
    const u64 at = offsetof(EventLog, ring) + slot * sizeof(fabric::Event);
    if (event.sequence != n + 1)
      found.add(at, fmt::format("event {} says that it is {}", n + 1, event.sequence));
    if (event.kind == fabric::EventKind::none || event.kind > fabric::EventKind::node_health)
      found.add(at + offsetof(fabric::Event, kind),
                fmt::format("event {}: unknown kind {:#x}", n + 1, static_cast<u32>(event.kind)));
  }
  found.move_to(all);
}

void check_instances(Machine& machine, std::vector<std::string>& all) {
  Findings found(machine, "instances", RegionKind::instances, fabric::kInstancesVersion);
  for (u32 id = 0; id < fabric::kMaxInstances; ++id) {
    const auto state = machine.instances().slots[id].state.load();
    if (state > fabric::InstanceState::gone)
      found.add(id * sizeof(fabric::InstanceSlot) + offsetof(fabric::InstanceSlot, state),
                fmt::format("instance {}: unknown state {:#x}", id, static_cast<u32>(state)));
  }
  found.move_to(all);
}

void check_membership(Machine& machine, std::vector<std::string>& all) {
  using fabric::FabricState;
  Findings found(machine, "membership", RegionKind::membership, fabric::kMembershipVersion);
  const auto state =
      machine.pool().record<FabricState>(RegionKind::membership, fabric::kMembershipVersion);
  if (!state.ok()) return;
  const FabricState& fabric = **state;
  if (fabric::RoleWord::unpack(fabric.role.word.load()).holder.id >= fabric::kMaxInstances)
    found.add(offsetof(FabricState, role), "the manager's role is held by no instance");
  for (u32 id = 0; id < fabric::kMaxInstances; ++id) {
    const auto failure = fabric::look(fabric.failures[id]);
    if (failure.stage > fabric::FailureStage::dead ||
        failure.cause > fabric::FailureCause::host_silent)
      found.add(offsetof(FabricState, failures) + id * sizeof(fabric::FailureRecord),
                fmt::format("failure of instance {}: unknown stage {:#x}", id,
                            static_cast<u32>(failure.stage)));
  }
  found.move_to(all);
}

void check_directory(Machine& machine, std::vector<std::string>& all) {
  using hyperkernel::DirEntry;
  Findings found(machine, "directory", RegionKind::page_directory,
                 hyperkernel::kPageDirectoryVersion);
  const auto directory = hyperkernel::PageDirectory::of(machine.pool());
  if (!directory.ok()) return;
  const auto region = machine.pool().region_header(RegionKind::frames, 1);
  const u64 frames = region.ok() ? region->bytes / kPageBytes : 0;
  for (u64 i = 0; i < directory->pages(); ++i) {
    const DirEntry entry = *directory->lookup(i);
    if (entry.frame >= frames || entry.mode == hyperkernel::PageMode::absent)
      found.add(i * sizeof(u64), fmt::format("entry {} names frame {:#x} of {:#x}, mode {}", i,
                                             entry.frame, frames, static_cast<u32>(entry.mode)));
  }
  found.move_to(all);
}

}  // namespace

std::vector<std::string> check_pool(Machine& machine) {
  std::vector<std::string> all;
  check_header_now(machine, all);
  const auto whole = check_machine_record(machine.pool(), machine.config());
  if (!whole.ok()) all.push_back(whole.error().message);
  check_events(machine, all);
  check_instances(machine, all);
  check_membership(machine, all);
  check_directory(machine, all);
  return all;
}

}  // namespace dvm::vmm
