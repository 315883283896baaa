// A control group in the pool: members in any process join, leave, die and rejoin, and every member
// hears of all of it, in one order, and loses nothing.
//
// Each change is one numbered notification. The newest kLog of them are kept. A member reads on
// from its own cursor; one that fell behind further than that catches up by a complete view of the
// group
// (`catch_up`), which still names every generation that died since: each member's record keeps its
// last kDeaths deaths, and a stable id with that many may join again only when no member's cursor
// lies before the oldest of them. So what is overwritten has been read by everyone who could miss
// it.
#pragma once

#include <array>
#include <atomic>
#include <span>
#include <vector>

#include "fabric/doorbell.h"
#include "fabric/pool_lock.h"

namespace dvm::fabric {

// What a member wants done when it dies.
enum class PolicyKind : u32 { restart, migrate, routine };
struct Policy {
  PolicyKind kind = PolicyKind::restart;
  u32 routine = 0;  // index in the RecoveryTable, for `routine`
  friend constexpr bool operator==(Policy, Policy) = default;
};

// recovered: what a dead member owned is in order again; only then may its stable id join again.
enum class MemberState : u32 { none, joined, left, died, recovered };

struct Notification {
  u64 sequence = 0;  // from 1, without gaps, per group
  MemberState kind = MemberState::none;
  Policy policy;   // of who
  u32 deaths = 0;  // of this stable id in this group so far
  InstanceId who;
  u64 time_ns = 0;  // CLOCK_MONOTONIC
};
static_assert(sizeof(Notification) == 40);

// A notification in the ring. `sequence` is zeroed before and stored after the rest, so that a
// reader sees a whole entry or none.
struct LogEntry {
  std::atomic<u64> sequence;
  std::atomic<u64> kind_deaths;
  std::atomic<u64> policy;
  std::atomic<u64> who;
  std::atomic<u64> time_ns;
};
static_assert(sizeof(LogEntry) == 40);

struct alignas(64) MemberRecord {
  static constexpr u32 kDeaths = 16;
  u32 generation;  // that the state is about
  MemberState state;
  Policy policy;
  u32 deaths;  // ever
  u32 reserved;
  std::atomic<u64> cursor;                   // last sequence that it has read
  std::array<u32, kDeaths> died_generation;  // of death number n, from 0: at n % kDeaths
  std::array<u64, kDeaths> died_sequence;
};
static_assert(sizeof(MemberRecord) == 256);

// Changes are made under the lock and by a redo journal: the notification is written to `change`,
// then `armed` is set to its sequence, then it is applied (idempotent: it holds results, not
// steps), `tail` last, then `armed` is cleared. Whoever takes the lock finds an armed change of a
// dead owner and applies it again. Death before arming: nothing happened; after: it has.
struct alignas(64) Group {
  static constexpr u32 kLog = 256;
  PoolLock lock;
  std::atomic<u64> tail;   // sequence of the newest notification
  std::atomic<u64> armed;  // 0: no change under way
  Doorbell changed;        // rung after every change
  u32 reserved;
  Notification change;
  std::array<LogEntry, kLog> log;
  std::array<MemberRecord, kMaxInstances> members;
};
static_assert(sizeof(Group) == 128 + 256 * 40 + 64 * 256);

// Nobody is or was in the group, nor is about to be by a change that is armed: the first one's
// maker may be dead, and its join counts all the same. `armed` is read first: it is cleared after
// `tail` has moved.
inline bool is_unused(const Group& group) {
  return group.armed.load(std::memory_order_acquire) == 0 &&
         group.tail.load(std::memory_order_acquire) == 0;
}

// Who is in a group, as of a notification.
struct GroupView {
  struct Member {
    InstanceId who;
    MemberState state = MemberState::none;
    Policy policy;
    u32 deaths = 0;
  };
  u64 as_of = 0;
  std::array<Member, kMaxInstances> members;  // by stable id
};

// A process's handle on a group. Threads: one at a time, but announce_* from any.
class Membership {
 public:
  Membership(Group& group, InstanceId self, const InstanceTable& instances)
      : group_(group), self_(self), instances_(instances) {}

  // Joins; the cursor starts at this very notification. Errors, to be tried again later: an earlier
  // generation is still a member or not recovered; members have not read of this id's kDeaths last
  // deaths.
  Status join(Policy policy);
  Status leave();  // error: not a member

  struct ReadResult {
    std::size_t count = 0;
    bool overflowed = false;  // nothing is lost: catch_up tells all
  };
  // The next notifications, oldest first, as many as there are and `to` has room for; moves the
  // cursor past them. Takes no lock. For members.
  ReadResult read(std::span<Notification> to);
  // The group as it is, and every death that this handle has not read of, in order. Moves the
  // cursor.
  struct CatchUp {
    GroupView view;
    std::vector<Notification> deaths;
  };
  CatchUp catch_up();
  // The group as it is, for anyone; moves nothing.
  GroupView view();

  // Announces, exactly once over all callers, that a member died, or was recovered. Never waits for
  // the lock for long: false when it was not to be had (try again: its holder may have to be fenced
  // first). Not a member, or announced already: true, and nothing changes. Does not ring.
  bool announce_death(InstanceId who);
  bool announce_recovery(InstanceId who);

  u32 listen() const { return fabric::listen(group_.changed); }
  void ring_all() { ring(group_.changed); }
  // Sleeps until the group has changed since `seen`, or the deadline (as fabric::wait).
  void wait(u32 seen, std::optional<u64> deadline_ns) {
    fabric::wait(group_.changed, seen, deadline_ns);
  }

 private:
  Status check_join(const MemberRecord& own) const;
  bool announce(InstanceId who, MemberState from, MemberState to);
  bool try_lock();
  void change(MemberState kind, InstanceId who, Policy policy);
  void apply();
  void repair();
  void note(const Notification& heard);

  Group& group_;
  const InstanceId self_;
  const InstanceTable& instances_;
  std::array<u32, kMaxInstances> known_deaths_{};  // that read() or catch_up() has told of
};

}  // namespace dvm::fabric
