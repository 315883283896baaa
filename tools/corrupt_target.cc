#include "tools/corrupt_target.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "fabric/fabric_state.h"
#include "hyperkernel/page_directory.h"

namespace dvm::tools {
namespace {

using fabric::RegionKind;

// An id that no process of a guest has: what its records hold nobody acts on.
constexpr u32 kUnusedInstance = fabric::kManagerInstance - 1;

Result<CorruptPlace> place_in(vmm::Machine& machine, RegionKind kind, u32 version, u64 at,
                              u32 mask) {
  DVM_ASSIGN(const auto region, machine.pool().region_header(kind, version));
  return CorruptPlace{region.offset + at, mask};
}

Result<CorruptPlace> in_header(vmm::Machine&) {
  return CorruptPlace{offsetof(fabric::PoolHeader, total_bytes), 0x10};
}

Result<CorruptPlace> in_machine(vmm::Machine& machine) {
  return place_in(machine, RegionKind::machine, vmm::kMachineVersion,
                  offsetof(vmm::MachineConfig, checksum), 0x01);
}

// The kind of the newest event.
Result<CorruptPlace> in_events(vmm::Machine& machine) {
  const u64 tail = machine.events().tail.load();
  if (tail == 0) return error("corrupt: no event has been written yet");
  return place_in(machine, RegionKind::events, fabric::kEventsVersion,
                  offsetof(fabric::EventLog, ring) +
                      (tail - 1) % fabric::EventLog::kEvents * sizeof(fabric::Event) +
                      offsetof(fabric::Event, kind) + 1,
                  0x80);
}

Result<CorruptPlace> in_instances(vmm::Machine& machine) {
  return place_in(
      machine, RegionKind::instances, fabric::kInstancesVersion,
      kUnusedInstance * sizeof(fabric::InstanceSlot) + offsetof(fabric::InstanceSlot, state), 0x80);
}

Result<CorruptPlace> in_membership(vmm::Machine& machine) {
  return place_in(
      machine, RegionKind::membership, fabric::kMembershipVersion,
      offsetof(fabric::FabricState, failures) + kUnusedInstance * sizeof(fabric::FailureRecord),
      0x40);
}

// The frame of the last page, which becomes one far outside the pool.
Result<CorruptPlace> in_directory(vmm::Machine& machine) {
  DVM_ASSIGN(const auto directory, hyperkernel::PageDirectory::of(machine.pool()));
  return place_in(machine, RegionKind::page_directory, hyperkernel::kPageDirectoryVersion,
                  (directory.pages() - 1) * sizeof(u64) + 3, 0x80);
}

struct Target {
  std::string_view name;
  Result<CorruptPlace> (*find)(vmm::Machine&);
};
constexpr std::array<Target, 6> kTargets = {{{"header", in_header},
                                             {"machine", in_machine},
                                             {"events", in_events},
                                             {"instances", in_instances},
                                             {"membership", in_membership},
                                             {"directory", in_directory}}};

const Target* find_target(const std::string& name) {
  const auto* it = std::find_if(kTargets.begin(), kTargets.end(),
                                [&](const Target& t) { return t.name == name; });
  return it == kTargets.end() ? nullptr : it;
}

}  // namespace

std::string corrupt_names() {
  std::string names;
  for (const Target& target : kTargets) names += fmt::format("{}, ", target.name);
  return names.append(kPageRecord);
}

Status check_corrupt_name(const std::string& name) {
  if (name == kPageRecord || find_target(name) != nullptr) return {};
  return usage_error("record: found '{}'; allowed: {}", name.substr(0, 40), corrupt_names());
}

Result<CorruptPlace> find_corrupt_place(vmm::Machine& machine, const std::string& name) {
  const Target* target = find_target(name);
  if (target == nullptr) return error("no record '{}'", name);
  return target->find(machine);
}

}  // namespace dvm::tools
