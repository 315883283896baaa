// A fair lock for contended places: first come, first served, and each waiter spins on a cache line
// of its own (as with MCS). The queue is an array of slots in the lock itself, so that every place
// in it names its owner and nothing is linked through the memory of the dead.
//
// Ticket t stands in slots[t % kSlots]. A slot's `owner` word is {generation 32, id 8, round 24},
// round = t / kSlots; generation 0: free for that round. Its `granted` word is the last ticket of
// this slot whose turn came. The zeroed lock is free: ticket 0 has its turn, nobody has taken it.
//
//   enter:    owner[t]: {free, t} -> {me, t} (CAS: the step that counts);  next = t + 1 (a hint)
//   wait:     until granted[t] == t
//   leave:    granted[t+1] = t + 1;  owner[t] = {free, t + kSlots}
//   pass on:  owner[d]: {dead, d} -> {me, d} (CAS), once granted[d] >= d; then leave d for the dead
//
// Death before the CAS of enter leaves nothing; between it and the hint, a place that others walk
// past; while waiting, holding or before the first store of leave, a place whose turn is passed on
// by anyone who waits for it (exactly one at a time: the CAS); between the two stores of leave, or
// while passing on, the same once more: granting t + 1 again changes nothing, since no later ticket
// of its slot can have its turn before owner[t] is free.
#pragma once

#include <array>
#include <atomic>

#include "fabric/instance.h"
#include "fabric/pool_lock.h"

namespace dvm::fabric {

struct alignas(64) QueueSlot {
  std::atomic<u64> owner;
  std::atomic<u64> granted;  // the ticket; kFromDead: `dead` had the turn before and died with it
  std::atomic<u64> dead;     // an owner word; has meaning only under kFromDead
  static constexpr u64 kFromDead = 1ull << 63;
};
static_assert(sizeof(QueueSlot) == 64);

// With more than kSlots threads at it at once, those that find no slot wait for one, in no order.
struct QueueLock {
  static constexpr u64 kSlots = 64;
  alignas(64) std::atomic<u64> next;  // every ticket below it is taken; the first free one is not
                                      // below it, and at most kSlots above
  std::array<QueueSlot, kSlots> slots;
};
static_assert(sizeof(QueueLock) == 64 * (QueueLock::kSlots + 1));

// The caller's place: hand it to `release`. `result` is from_dead() when the lock's turn was taken
// passed on from an instance that died with it: that one held the lock, or was next and may never
// have known. As with PoolLock, what to mend is told from the guarded state.
struct QueueTurn {
  u64 ticket = 0;
  LockResult result;
};

namespace detail {
u64 enter_contended(QueueLock& lock, u64 mine, const InstanceTable& instances);
LockResult wait_for_turn(QueueLock& lock, u64 ticket, u64 mine, const InstanceTable& instances);

inline u64 slot_round(u64 ticket) { return (ticket / QueueLock::kSlots) & 0xffffff; }
inline QueueSlot& slot_of(QueueLock& lock, u64 ticket) {
  return lock.slots[ticket % QueueLock::kSlots];
}
// {generation 32, id 8, round 24 (left 0)}
inline u64 slot_owner(InstanceId self) {
  static_assert(kMaxInstances <= 256);
  return (static_cast<u64>(self.generation) << 32) | (static_cast<u64>(self.id) << 24);
}
}  // namespace detail

// Returns only with the lock. Spins, then yields, then sleeps as PoolLock's does. Not recursive;
// threads: any, each with its own turn. An instance that leaves by itself must hold no place.
inline QueueTurn acquire(QueueLock& lock, InstanceId self, const InstanceTable& instances) {
  const u64 mine = detail::slot_owner(self);
  u64 ticket = lock.next.load(std::memory_order_relaxed);
  QueueSlot* slot = &detail::slot_of(lock, ticket);
  u64 free_word = detail::slot_round(ticket);
  if (slot->owner.compare_exchange_strong(free_word, mine | free_word, std::memory_order_acq_rel))
      [[likely]] {
    lock.next.store(ticket + 1, std::memory_order_relaxed);
  } else {
    ticket = detail::enter_contended(lock, mine, instances);
    slot = &detail::slot_of(lock, ticket);
  }
  if (slot->granted.load(std::memory_order_acquire) == ticket) return {ticket, {}};
  return {ticket, detail::wait_for_turn(lock, ticket, mine, instances)};
}

// Precondition: the turn came from `acquire` of this lock and was not yet released.
inline void release(QueueLock& lock, const QueueTurn& turn) {
  const u64 after = turn.ticket + 1;
  detail::slot_of(lock, after).granted.store(after, std::memory_order_release);
  detail::slot_of(lock, turn.ticket)
      .owner.store(detail::slot_round(turn.ticket + QueueLock::kSlots), std::memory_order_release);
}

class QueueGuard {
 public:
  QueueGuard(QueueLock& lock, InstanceId self, const InstanceTable& instances)
      : lock_(lock), turn_(acquire(lock, self, instances)) {}
  ~QueueGuard() { release(lock_, turn_); }
  QueueGuard(const QueueGuard&) = delete;
  QueueGuard& operator=(const QueueGuard&) = delete;
  const LockResult& result() const { return turn_.result; }

 private:
  QueueLock& lock_;
  QueueTurn turn_;
};

}  // namespace dvm::fabric
