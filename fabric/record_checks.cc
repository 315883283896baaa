// What makes a record of the fabric one that may be followed (pool_record.h).
#include "fabric/event_log.h"
#include "fabric/fabric_state.h"
#include "fabric/fault_board.h"

namespace dvm::fabric {
namespace {

template <typename Enum>
bool beyond(Enum value, Enum last) {
  return static_cast<u32>(value) > static_cast<u32>(last);
}

bool is_instance_or_nobody(InstanceId who) { return !who.valid() || who.id < kMaxInstances; }

Status check_slot(const InstanceSlot& slot, u32 id, const RecordPlace& place) {
  const InstanceState state = slot.state.load();
  if (beyond(state, InstanceState::gone))
    return place.wrong(&slot.state, "slot {}: state {}", id, static_cast<u32>(state));
  if (slot.pid.load() < 0) return place.wrong(&slot.pid, "slot {}: pid {}", id, slot.pid.load());
  return {};
}

Status check_peer(const PeerRecord& peer, u32 id, const RecordPlace& place) {
  const InstanceId who = InstanceId::unpack(peer.instance.load());
  if (who.valid() && who.id != id)
    return place.wrong(&peer.instance, "peer {}: names instance {}", id, who.id);
  if (peer.pid.load() < 0) return place.wrong(&peer.pid, "peer {}: pid {}", id, peer.pid.load());
  return {};
}

Status check_failure(const FailureRecord& failure, u32 id, const RecordPlace& place) {
  const FailureWord word = look(failure);
  if (beyond(word.stage, FailureStage::dead) || beyond(word.cause, FailureCause::host_silent)) {
    return place.wrong(&failure.word, "failure of {}: stage {}, cause {}", id,
                       static_cast<u32>(word.stage), static_cast<u32>(word.cause));
  }
  if (!is_instance_or_nobody(InstanceId::unpack(failure.runner.load())))
    return place.wrong(&failure.runner, "failure of {}: runner {:#x}", id, failure.runner.load());
  return {};
}

Status check_member(const MemberRecord& m, u32 group, u32 id, const RecordPlace& place) {
  if (beyond(m.state, MemberState::recovered)) {
    return place.wrong(&m.state, "group {}: member {}: state {}", group, id,
                       static_cast<u32>(m.state));
  }
  if (beyond(m.policy.kind, PolicyKind::routine)) {
    return place.wrong(&m.policy, "group {}: member {}: policy {}", group, id,
                       static_cast<u32>(m.policy.kind));
  }
  return {};
}

// An entry is whole, or being written, or never was.
Status check_entry(const LogEntry& entry, u32 group, u64 index, const RecordPlace& place) {
  const u64 sequence = entry.sequence.load();
  if (sequence != 0 && sequence % Group::kLog != index) {
    return place.wrong(&entry.sequence, "group {}: notification {} in place {}", group, sequence,
                       index);
  }
  if (entry.kind_deaths.load() >> 32 > static_cast<u64>(MemberState::recovered)) {
    return place.wrong(&entry.kind_deaths, "group {}: notification {}: kind {:#x}", group, sequence,
                       entry.kind_deaths.load() >> 32);
  }
  if (!is_instance_or_nobody(InstanceId::unpack(entry.who.load())))
    return place.wrong(&entry.who, "group {}: notification {}: of {:#x}", group, sequence,
                       entry.who.load());
  return {};
}

// The change under way is followed only while it is armed.
Status check_change(const Group& g, u32 group, const RecordPlace& place) {
  if (g.armed.load() == 0) return {};
  if (g.change.who.id >= kMaxInstances || beyond(g.change.kind, MemberState::recovered) ||
      beyond(g.change.policy.kind, PolicyKind::routine)) {
    return place.wrong(&g.change, "group {}: change {}: kind {}, of {}", group, g.change.sequence,
                       static_cast<u32>(g.change.kind), g.change.who.id);
  }
  return {};
}

Status check_group(const Group& g, u32 group, const RecordPlace& place) {
  if (!is_instance_or_nobody(InstanceId::unpack(g.lock.owner.load())))
    return place.wrong(&g.lock, "group {}: lock of {:#x}", group, g.lock.owner.load());
  DVM_TRY(check_change(g, group, place));
  for (u64 i = 0; i < Group::kLog; ++i) DVM_TRY(check_entry(g.log[i], group, i, place));
  for (u32 id = 0; id < kMaxInstances; ++id) DVM_TRY(check_member(g.members[id], group, id, place));
  return {};
}

}  // namespace

Status check_record(const InstanceTable& table, const RecordPlace& place) {
  for (u32 id = 0; id < kMaxInstances; ++id) DVM_TRY(check_slot(table.slots[id], id, place));
  return {};
}

Status check_record(const FabricState& fabric, const RecordPlace& place) {
  const RoleWord role = RoleWord::unpack(fabric.role.word.load());
  if (!is_instance_or_nobody(role.holder))
    return place.wrong(&fabric.role.word, "the manager is {}", role.holder.id);
  for (u32 id = 0; id < kMaxInstances; ++id) {
    DVM_TRY(check_peer(fabric.peers.records[id], id, place));
    DVM_TRY(check_failure(fabric.failures[id], id, place));
  }
  for (u32 g = 0; g < FabricState::kGroups; ++g) DVM_TRY(check_group(fabric.groups[g], g, place));
  return {};
}

Status check_record(const EventLog& log, const RecordPlace& place) {
  if (!is_instance_or_nobody(InstanceId::unpack(log.lock.owner.load())))
    return place.wrong(&log.lock, "lock of {:#x}", log.lock.owner.load());
  for (u64 i = 0; i < EventLog::kEvents; ++i) {
    auto& sequence = const_cast<u64&>(log.ring[i].sequence);  // only read, as others write it
    const u64 seen = std::atomic_ref(sequence).load(std::memory_order_relaxed);
    if (seen != 0 && (seen - 1) % EventLog::kEvents != i)
      return place.wrong(&log.ring[i], "event {} in place {}", seen, i);
  }
  return {};
}

Status check_record(const FaultTable& table, const RecordPlace& place) {
  for (u32 i = 0; i < FaultTable::kFaults; ++i) {
    const ArmedFault& fault = table.faults[i];
    if (beyond(fault.state.load(), FaultAction::arming)) {
      return place.wrong(&fault.state, "fault {}: action {}", i,
                         static_cast<u32>(fault.state.load()));
    }
    if (fault.point.back() != '\0') return place.wrong(&fault.point, "fault {}: endless name", i);
  }
  return {};
}

Status check_record(const FaultBoard& board, const RecordPlace& place) {
  DVM_TRY(check_record(board.points, place));
  for (u32 i = 0; i < FaultBoard::kRecords; ++i) {
    const FaultWord word = look(board.records[i]);
    if (beyond(word.stage, FaultStage::failed))
      return place.wrong(&board.records[i].word, "request {}: stage {}", i,
                         static_cast<u32>(word.stage));
    const u32 kind = static_cast<u32>(board.records[i].request.kind);
    if (kind >= kFaultKinds)
      return place.wrong(&board.records[i].request, "request {}: kind {}", i, kind);
  }
  return {};
}

}  // namespace dvm::fabric
