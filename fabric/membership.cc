#include "fabric/membership.h"

#include <algorithm>

#include "fabric/failpoint.h"

namespace dvm::fabric {
namespace {

constexpr int kLockTries = 2000;

void write_entry(LogEntry& to, const Notification& n) {
  constexpr auto release = std::memory_order_release;  // keeps `sequence = 0` before the rest
  to.sequence.store(0, std::memory_order_relaxed);
  to.kind_deaths.store(static_cast<u64>(n.kind) << 32 | n.deaths, release);
  to.policy.store(static_cast<u64>(n.policy.kind) << 32 | n.policy.routine, release);
  to.who.store(n.who.packed(), release);
  to.time_ns.store(n.time_ns, release);
  to.sequence.store(n.sequence, release);
}

// False when the entry is not (or no longer, or not yet) the one of that sequence.
bool read_entry(const LogEntry& from, u64 sequence, Notification& n) {
  constexpr auto acquire = std::memory_order_acquire;
  if (from.sequence.load(acquire) != sequence) return false;
  const u64 kind_deaths = from.kind_deaths.load(acquire);
  const u64 policy = from.policy.load(acquire);
  n.sequence = sequence;
  n.kind = static_cast<MemberState>(kind_deaths >> 32);
  n.deaths = static_cast<u32>(kind_deaths);
  n.policy = {static_cast<PolicyKind>(policy >> 32), static_cast<u32>(policy)};
  n.who = InstanceId::unpack(from.who.load(acquire));
  n.time_ns = from.time_ns.load(acquire);
  const bool sound = n.who.id < kMaxInstances && n.kind <= MemberState::recovered;
  return sound && from.sequence.load(acquire) == sequence;
}

}  // namespace

Status Membership::check_join(const MemberRecord& own) const {
  if (own.state == MemberState::joined || own.state == MemberState::died) {
    return error("group: instance {} generation {} is {}", self_.id, own.generation,
                 own.state == MemberState::joined ? "a member" : "dead and not recovered yet");
  }
  if (own.deaths < MemberRecord::kDeaths) return {};
  const u64 oldest = own.died_sequence[own.deaths % MemberRecord::kDeaths];
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const MemberRecord& other = group_.members[id];
    if (id != self_.id && other.state == MemberState::joined && other.cursor.load() < oldest) {
      return error("group: instance {} has not read of the last {} deaths of instance {}", id,
                   MemberRecord::kDeaths, self_.id);
    }
  }
  return {};
}

Status Membership::join(Policy policy) {
  Status allowed;
  {
    const LockGuard guard(group_.lock, self_, instances_);
    repair();
    allowed = check_join(group_.members[self_.id]);
    if (allowed.ok()) {
      change(MemberState::joined, self_, policy);
      for (u32 id = 0; id < kMaxInstances; ++id) known_deaths_[id] = group_.members[id].deaths;
    }
  }
  if (allowed.ok()) ring(group_.changed);
  return allowed;
}

Status Membership::leave() {
  {
    const LockGuard guard(group_.lock, self_, instances_);
    repair();
    const MemberRecord& own = group_.members[self_.id];
    if (own.state != MemberState::joined || own.generation != self_.generation)
      return error("group: instance {} is no member", self_.id);
    change(MemberState::left, self_, own.policy);
  }
  ring(group_.changed);
  return {};
}

Membership::ReadResult Membership::read(std::span<Notification> to) {
  std::atomic<u64>& cursor = group_.members[self_.id].cursor;
  u64 next = cursor.load(std::memory_order_relaxed) + 1;
  const u64 tail = group_.tail.load(std::memory_order_acquire);
  ReadResult result;
  while (next <= tail && result.count < to.size()) {
    Notification& n = to[result.count];
    if (!read_entry(group_.log[next % Group::kLog], next, n)) {
      result.overflowed = result.count == 0;  // else next time
      break;
    }
    note(n);
    ++result.count;
    ++next;
  }
  if (result.count != 0) cursor.store(next - 1, std::memory_order_release);
  return result;
}

void Membership::note(const Notification& heard) {
  if (heard.who.id < kMaxInstances) known_deaths_[heard.who.id] = heard.deaths;
}

GroupView Membership::view() {
  const LockGuard guard(group_.lock, self_, instances_);
  repair();
  GroupView view;
  view.as_of = group_.tail.load(std::memory_order_relaxed);
  for (u32 id = 0; id < kMaxInstances; ++id) {
    const MemberRecord& m = group_.members[id];
    view.members[id] = {{id, m.generation}, m.state, m.policy, m.deaths};
  }
  return view;
}

Membership::CatchUp Membership::catch_up() {
  CatchUp result;
  result.deaths.reserve(kMaxInstances * MemberRecord::kDeaths);
  {
    const LockGuard guard(group_.lock, self_, instances_);
    repair();
    result.view.as_of = group_.tail.load(std::memory_order_relaxed);
    for (u32 id = 0; id < kMaxInstances; ++id) {
      const MemberRecord& m = group_.members[id];
      result.view.members[id] = {{id, m.generation}, m.state, m.policy, m.deaths};
      // Never more than are kept: a count that says so is damaged.
      const u32 oldest = m.deaths - std::min(m.deaths, MemberRecord::kDeaths);
      for (u32 n = std::max(known_deaths_[id], oldest); n < m.deaths; ++n) {
        const u32 at = n % MemberRecord::kDeaths;
        result.deaths.push_back({m.died_sequence[at],
                                 MemberState::died,
                                 m.policy,
                                 n + 1,
                                 {id, m.died_generation[at]},
                                 0});
      }
      known_deaths_[id] = m.deaths;
    }
    group_.members[self_.id].cursor.store(result.view.as_of, std::memory_order_release);
  }
  std::sort(result.deaths.begin(), result.deaths.end(),
            [](const Notification& a, const Notification& b) { return a.sequence < b.sequence; });
  return result;
}

bool Membership::announce_death(InstanceId who) {
  return announce(who, MemberState::joined, MemberState::died);
}

bool Membership::announce_recovery(InstanceId who) {
  return announce(who, MemberState::died, MemberState::recovered);
}

bool Membership::announce(InstanceId who, MemberState from, MemberState to) {
  if (who.id >= kMaxInstances) return true;
  if (!try_lock()) return false;
  repair();
  const MemberRecord& m = group_.members[who.id];
  if (m.state == from && m.generation == who.generation) change(to, who, m.policy);
  release(group_.lock);
  return true;
}

// Unlike acquire it gives up: the holder may be hung, and the caller the one who has to fence it.
bool Membership::try_lock() {
  const u64 mine = self_.packed();
  for (int tries = 0; tries < kLockTries; ++tries) {
    u64 holder = group_.lock.owner.load(std::memory_order_relaxed);
    const bool takeable = holder == 0 || instances_.is_stale(InstanceId::unpack(holder));
    if (takeable &&
        group_.lock.owner.compare_exchange_strong(holder, mine, std::memory_order_acquire))
      return true;
    __builtin_ia32_pause();
  }
  return false;
}

void Membership::change(MemberState kind, InstanceId who, Policy policy) {
  const MemberRecord& m = group_.members[who.id];
  const u64 sequence = group_.tail.load(std::memory_order_relaxed) + 1;
  failpoint("group.change");
  group_.change = {sequence, kind,          policy, m.deaths + (kind == MemberState::died ? 1 : 0),
                   who,      monotonic_ns()};
  failpoint("group.written");
  group_.armed.store(sequence, std::memory_order_release);
  failpoint("group.armed");
  apply();
  failpoint("group.applied");
  group_.armed.store(0, std::memory_order_release);
  failpoint("group.done");
}

void Membership::apply() {
  const Notification& n = group_.change;
  MemberRecord& m = group_.members[n.who.id];
  write_entry(group_.log[n.sequence % Group::kLog], n);
  failpoint("group.logged");
  m.generation = n.who.generation;
  m.policy = n.policy;
  m.deaths = n.deaths;
  if (n.kind == MemberState::died) {
    const u32 at = (n.deaths - 1) % MemberRecord::kDeaths;
    m.died_generation[at] = n.who.generation;
    m.died_sequence[at] = n.sequence;
  }
  failpoint("group.counted");
  if (n.kind == MemberState::joined) m.cursor.store(n.sequence, std::memory_order_relaxed);
  m.state = n.kind;
  failpoint("group.stated");
  group_.tail.store(n.sequence, std::memory_order_release);
}

// The caller holds the lock, perhaps from the dead.
void Membership::repair() {
  const u64 armed = group_.armed.load(std::memory_order_acquire);
  if (armed == 0) return;
  const bool due = armed == group_.tail.load(std::memory_order_acquire) + 1;
  if (due && group_.change.who.id < kMaxInstances) apply();  // else it is damaged: not followed
  group_.armed.store(0, std::memory_order_release);
}

}  // namespace dvm::fabric
