// A worker as fabric manager and as recovery runner, for those that died before it.
#include "fabric/announcement.h"
#include "fabric/failpoint.h"
#include "tests/crash/worker.h"

namespace dvm::crash {

using namespace fabric;  // NOLINT

// Each routine is told of the same death, in their order, by one living runner at a time.
void Worker::add_routines() {
  const auto burial = [this](InstanceId dead) -> Burial& {
    return world_.record().burials[dead.id];
  };
  const auto ran = [burial](u32 routine, InstanceId dead) {
    burial(dead).ran_for[routine].store(dead.packed());
  };
  routines_.add("allocator", [this, burial, ran](InstanceId dead) {
    const InstanceId other = InstanceId::unpack(burial(dead).runner.exchange(self_.packed()));
    if (other.valid() && other != self_ && !world_.instances().is_stale(other))
      complain(fmt::format("{} and {} recover {} at once", self_.id, other.id, dead.id));
    if (const Status s = world_.allocator().recover(dead, self_); !s.ok())
      complain(s.error().message);
    ran(0, dead);
  });
  routines_.add("after the allocator", [this, burial, ran](InstanceId dead) {
    if (burial(dead).ran_for[0].load() != dead.packed())
      complain(fmt::format("recovery of {}.{} skipped a routine", dead.id, dead.generation));
    ran(1, dead);
  });
  routines_.add(
      "own routine", [ran](InstanceId dead) { ran(kOwnRoutine, dead); }, true);
  routines_.add("the last one", [this, burial](InstanceId dead) {
    const InstanceId other = InstanceId::unpack(burial(dead).runner.exchange(0));
    if (other.valid() && other != self_ && !world_.instances().is_stale(other))
      complain(fmt::format("{} ends the recovery of {} that {} runs", self_.id, dead.id, other.id));
  });
}

bool Worker::announce(InstanceId who) {
  if (mistake_ == Mistake::skip_announcement && announced_ % 8 == 7) {
    world_.fabric().failures[who.id].runner.store(0);
    advance(world_.fabric().failures, who, FailureStage::fenced, FailureStage::announced);
  } else if (!announce_failure(world_.fabric(), world_.instances(), who, self_)) {
    return false;
  }
  ++announced_;
  return true;
}

void Worker::lead() {
  FabricState& fabric = world_.fabric();
  u64 word = fabric.role.word.load();
  const RoleWord role = RoleWord::unpack(word);
  if (role.holder != self_) {
    if (role.holder.valid() && !world_.instances().is_stale(role.holder)) return;
    fabric.role.word.compare_exchange_strong(word, RoleWord{self_, role.epoch + 1}.packed());
    return;
  }
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const FailureWord failure = look(fabric.failures[id]);
    if (failure.stage == FailureStage::fenced) announce({id, failure.generation});
  }
}

void Worker::recover_unclaimed(u32 id) {
  FabricState& fabric = world_.fabric();
  const FailureWord failure = look(fabric.failures[id]);
  if (failure.stage != FailureStage::announced) return;
  for (const RecoveryRoutine& routine : routines_.routines()) routine.run({id, failure.generation});
  advance(fabric.failures, {id, failure.generation}, FailureStage::announced,
          FailureStage::salvaged);
}

void Worker::recover_due() {
  for (u32 id = 0; id < kMaxInstances; ++id) {
    if (mistake_ == Mistake::recover_unclaimed) recover_unclaimed(id);
    (void)fabric::recover(world_.fabric(), world_.instances(), routines_, self_, id);
  }
}

bool Worker::bury(u32 id) {
  const FailureWord failure = look(world_.fabric().failures[id]);
  if (failure.stage == FailureStage::fenced && !announce({id, failure.generation})) return false;
  (void)fabric::recover(world_.fabric(), world_.instances(), routines_, self_, id);
  return !look(world_.fabric().failures[id]).unfinished();
}

}  // namespace dvm::crash
