#include "fabric/recovery.h"

#include <sched.h>

#include "fabric/claim.h"
#include "fabric/crc32c.h"
#include "fabric/failpoint.h"

namespace dvm::fabric {
namespace {

bool asked_for(FabricState& fabric, InstanceId self, const InstanceTable& instances,
               InstanceId dead, u32 routine) {
  for (Group& group : fabric.groups) {
    if (is_unused(group)) continue;
    const auto view = Membership(group, self, instances).view();
    const auto& m = view.members[dead.id];
    if (m.who == dead && m.policy == Policy{PolicyKind::routine, routine}) return true;
  }
  return false;
}

// The instance slot shows people the same; a successor that has joined meanwhile is left alone.
void show(InstanceTable& instances, InstanceId dead, InstanceState from, InstanceState to) {
  instances.slots[dead.id].state.compare_exchange_strong(from, to);
}

void run_steps(FabricState& fabric, InstanceTable& instances, const RecoveryTable& table,
               InstanceId self, InstanceId dead, u16 step) {
  const auto& routines = table.routines();
  for (; step < routines.size(); ++step) {
    failpoint("recovery.step");
    const RecoveryRoutine& routine = routines[step];
    if (!routine.on_request || asked_for(fabric, self, instances, dead, step)) routine.run(dead);
    failpoint("recovery.stepped");
    advance(fabric.failures, dead, FailureStage::announced, FailureStage::announced,
            static_cast<u16>(step + 1));
  }
  advance(fabric.failures, dead, FailureStage::announced, FailureStage::salvaged, step);
}

void finish(FabricState& fabric, InstanceTable& instances, InstanceId self, InstanceId dead) {
  show(instances, dead, InstanceState::fenced, InstanceState::salvaged);
  failpoint("recovery.salvaged");
  for (Group& group : fabric.groups) {
    if (is_unused(group)) continue;
    Membership members(group, self, instances);
    while (!members.announce_recovery(dead)) ::sched_yield();
    members.ring_all();
  }
  failpoint("recovery.told");
  advance(fabric.failures, dead, FailureStage::salvaged, FailureStage::dead);
  show(instances, dead, InstanceState::salvaged, InstanceState::dead);
}

bool due(const FailureWord& word) {
  return word.stage == FailureStage::announced || word.stage == FailureStage::salvaged;
}

}  // namespace

u32 RecoveryTable::add(std::string name, std::function<void(InstanceId)> run, bool on_request) {
  routines_.push_back({std::move(name), std::move(run), on_request});
  return static_cast<u32>(routines_.size() - 1);
}

Status RecoveryTable::agree(FabricState& fabric) const {
  u32 sum = 0;
  for (const RecoveryRoutine& routine : routines_) {
    const std::string_view name = routine.name;
    sum = crc32c(std::as_bytes(std::span(name.data(), name.size())), sum + 1);
  }
  sum |= 1;  // 0 means "none yet"
  u32 theirs = 0;
  if (fabric.routines.compare_exchange_strong(theirs, sum) || theirs == sum) return {};
  return error(
      "recovery: this process registers other routines ({:#010x}) than those before ({:#010x})",
      sum, theirs);
}

RecoveryResult recover(FabricState& fabric, InstanceTable& instances, const RecoveryTable& table,
                       InstanceId self, u32 id) {
  FailureRecord& record = fabric.failures[id];
  if (!due(look(record))) return RecoveryResult::not_due;
  if (!claim(record.runner, self, instances)) return RecoveryResult::taken;
  record.runners.fetch_add(1, std::memory_order_relaxed);
  failpoint("recovery.claimed");
  // Looked at again, now that nobody else moves it.
  const FailureWord word = look(record);
  if (!due(word)) return RecoveryResult::not_due;
  const InstanceId dead{id, word.generation};
  if (word.stage == FailureStage::announced)
    run_steps(fabric, instances, table, self, dead, word.step);
  finish(fabric, instances, self, dead);
  return RecoveryResult::done;
}

Status RecoveryRunner::run() {
  DVM_ASSIGN(const auto life, peer_.register_thread());
  while (!stopping_.load(std::memory_order_acquire)) {
    const u32 seen = listen(fabric_.recovery_due);
    for (u32 id = 0; id < kMaxInstances; ++id)
      recover(fabric_, instances_, table_, peer_.self(), id);
    if (!stopping_.load(std::memory_order_acquire)) wait(fabric_.recovery_due, seen, std::nullopt);
  }
  return {};
}

void RecoveryRunner::stop() {
  stopping_.store(true, std::memory_order_release);
  ring(fabric_.recovery_due);
}

}  // namespace dvm::fabric
