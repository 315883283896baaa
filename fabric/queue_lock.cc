#include "fabric/queue_lock.h"

#include "fabric/backoff.h"
#include "fabric/failpoint.h"

namespace dvm::fabric::detail {
namespace {

constexpr u64 kRoundMask = 0xffffff;

bool is_free(u64 owner_word) { return (owner_word >> 32) == 0; }
u64 round_in(u64 owner_word) { return owner_word & kRoundMask; }
InstanceId instance_in(u64 owner_word) {
  return {static_cast<u32>(owner_word >> 24) & 0xff, static_cast<u32>(owner_word >> 32)};
}
bool is_dead(u64 owner_word, const InstanceTable& instances) {
  return !is_free(owner_word) && instances.is_stale(instance_in(owner_word));
}
// The turn of `ticket` has come, or is past: the last ticket of the queue gives the turn to the one
// kSlots after a dead one that was never cleared away.
bool has_turn(const QueueSlot& slot, u64 ticket) {
  return (slot.granted.load(std::memory_order_acquire) & ~QueueSlot::kFromDead) >= ticket;
}

// Leaves the queue for the dead owner of `ticket`, whose turn it is or has been. `seen` is its
// owner word; nothing happens if somebody else was first.
void pass_on(QueueLock& lock, u64 ticket, u64 seen, u64 mine) {
  QueueSlot& slot = slot_of(lock, ticket);
  const u64 died = seen;
  failpoint("queue_lock.found_dead");
  if (!slot.owner.compare_exchange_strong(seen, mine | slot_round(ticket),
                                          std::memory_order_acq_rel)) {
    return;
  }
  failpoint("queue_lock.adopted");
  QueueSlot& after = slot_of(lock, ticket + 1);
  if (!has_turn(after, ticket + 1)) {
    after.dead.store(died, std::memory_order_relaxed);
    failpoint("queue_lock.named_dead");
    after.granted.store((ticket + 1) | QueueSlot::kFromDead, std::memory_order_release);
  }
  failpoint("queue_lock.passed_on");
  slot.owner.store(slot_round(ticket + QueueLock::kSlots), std::memory_order_release);
}

enum class Entry { taken, next_ticket, wait };

// Tries to take `ticket` for `mine`.
Entry try_ticket(QueueLock& lock, u64 ticket, u64 mine, const InstanceTable& instances) {
  QueueSlot& slot = slot_of(lock, ticket);
  const u64 round = slot_round(ticket);
  u64 seen = slot.owner.load(std::memory_order_acquire);
  if (seen == round) {  // free for this ticket
    return slot.owner.compare_exchange_strong(seen, mine | round, std::memory_order_acq_rel)
               ? Entry::taken
               : Entry::next_ticket;
  }
  // Taken, or the hint lags and the ticket is long past.
  if (round_in(seen) != ((round - 1) & kRoundMask)) return Entry::next_ticket;
  // The queue is full: ticket - kSlots, the oldest in it, is still there.
  const u64 oldest = ticket - QueueLock::kSlots;
  if (is_dead(seen, instances) && has_turn(slot, oldest)) pass_on(lock, oldest, seen, mine);
  return Entry::wait;
}

// Walks from `ticket` towards the front while the places there belong to the dead, and passes the
// turn on if it is theirs. False: there is somebody living to wait for.
bool help_dead(QueueLock& lock, u64 ticket, u64 mine, const InstanceTable& instances) {
  for (u64 back = 1; back < QueueLock::kSlots && back <= ticket; ++back) {
    const u64 before = ticket - back;
    QueueSlot& slot = slot_of(lock, before);
    const u64 seen = slot.owner.load(std::memory_order_acquire);
    if (round_in(seen) != slot_round(before) || !is_dead(seen, instances)) return false;
    if (!has_turn(slot, before)) continue;
    pass_on(lock, before, seen, mine);
    return true;
  }
  return false;
}

}  // namespace

u64 enter_contended(QueueLock& lock, u64 mine, const InstanceTable& instances) {
  Backoff backoff;
  u64 ticket = lock.next.load(std::memory_order_acquire);
  for (;;) {
    switch (try_ticket(lock, ticket, mine, instances)) {
      case Entry::taken:
        failpoint("queue_lock.entered");
        lock.next.store(ticket + 1, std::memory_order_relaxed);
        return ticket;
      case Entry::next_ticket: ++ticket; break;
      case Entry::wait:
        if (backoff.spin()) backoff.rest();
        ticket = lock.next.load(std::memory_order_acquire);
        break;
    }
  }
}

LockResult wait_for_turn(QueueLock& lock, u64 ticket, u64 mine, const InstanceTable& instances) {
  QueueSlot& slot = slot_of(lock, ticket);
  Backoff backoff;
  while (!has_turn(slot, ticket)) {
    if (backoff.spin() && !help_dead(lock, ticket, mine, instances)) backoff.rest();
  }
  if ((slot.granted.load(std::memory_order_relaxed) & QueueSlot::kFromDead) == 0) return {};
  return {instance_in(slot.dead.load(std::memory_order_relaxed))};
}

}  // namespace dvm::fabric::detail
