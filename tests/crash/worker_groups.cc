// A worker's comings and goings in the control groups.
#include "fabric/failpoint.h"
#include "tests/crash/worker.h"

namespace dvm::crash {

using namespace fabric;  // NOLINT

void Worker::intend(u32 group, Intent intent) {
  world_.record().intents[group][self_.id].word.store(GroupIntent::pack(self_, intent));
}

GroupObserver& Worker::observer(u32 group) {
  if (!groups_[group])
    groups_[group].emplace(world_.fabric().groups[group], self_, world_.instances());
  return *groups_[group];
}

// A new life may join unless somebody has yet to read of this id's many deaths.
void Worker::join(u32 group) {
  intend(group, Intent::joining);
  const Policy policy = asks_for_own_routine(self_) ? Policy{PolicyKind::routine, kOwnRoutine}
                                                    : Policy{PolicyKind::migrate, 0};
  const Status joined = observer(group).join(policy);
  intend(group, joined.ok() ? Intent::joined : Intent::left);
  if (joined.ok()) return;
  groups_[group].reset();
  if (joined.error().message.find("has not read") == std::string::npos)
    complain(joined.error().message);
}

void Worker::leave(u32 group) {
  intend(group, Intent::leaving);
  if (mistake_ == Mistake::leave_without_journal) {
    leave_without_journal(group);
  } else if (const Status left = observer(group).leave(); !left.ok()) {
    complain(left.error().message);
  }
  intend(group, Intent::left);
  groups_[group].reset();
}

void Worker::leave_without_journal(u32 group) {
  Group& g = world_.fabric().groups[group];
  const LockGuard guard(g.lock, self_, world_.instances());
  const u64 next = g.tail.load() + 1;
  MemberRecord& own = g.members[self_.id];
  LogEntry& entry = g.log[next % Group::kLog];
  own.state = MemberState::left;
  failpoint("group.stated");
  entry.sequence.store(0);
  entry.kind_deaths.store(static_cast<u64>(MemberState::left) << 32 | own.deaths);
  entry.who.store(self_.packed());
  entry.sequence.store(next);
  failpoint("group.logged");
  g.tail.store(next);
}

void Worker::change_group(u64 random) {
  const u32 group = random % kGroups;
  if (!groups_[group]) return join(group);
  switch (random / kGroups % 32) {
    case 0: return leave(group);
    case 1: return catch_up(group);
    default: return read(group);
  }
}

}  // namespace dvm::crash
