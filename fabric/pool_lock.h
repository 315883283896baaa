// A lock word in the pool. It names its owner, so that a survivor can tell that the owner is dead
// and take the lock over; the caller is told so and makes the guarded state consistent first.
// docs/fabric-locks.md says why this is right, and what it costs over a lock that names nobody.
#pragma once

#include <atomic>

#include "fabric/instance.h"

namespace dvm::fabric {

// How a lock came to us: from nobody, or from an instance that died holding it.
struct LockResult {
  InstanceId dead_owner;  // not valid(): plainly acquired
  bool from_dead() const { return dead_owner.valid(); }
};

// Test-and-test-and-set with the owner's id as its value; 0 is free. Death at any instruction
// leaves either a free word or one that names a stale owner. Whoever takes over from the dead may
// die before it has mended the guarded state: the next owner is then told of *that* death, so what
// is to be mended must be told from the guarded state, never from who died.
struct PoolLock {
  std::atomic<u64> owner;
};
static_assert(sizeof(PoolLock) == 8 && std::atomic<u64>::is_always_lock_free);

namespace detail {
// The rare part of `acquire`: the lock is held, by the living or by the dead.
LockResult acquire_contended(PoolLock& lock, u64 mine, const InstanceTable& instances);
}  // namespace detail

// Spins a little, then yields the processor between tries, then sleeps for 50 µs between them.
// Returns only with the lock; an owner that is not retired in `instances` is waited for. `self` is
// a valid() instance; its threads share it, so this does not tell them apart and is not recursive.
// Threads: any.
inline LockResult acquire(PoolLock& lock, InstanceId self, const InstanceTable& instances) {
  const u64 mine = self.packed();
  u64 nobody = 0;
  if (lock.owner.load(std::memory_order_relaxed) == 0 &&
      lock.owner.compare_exchange_strong(nobody, mine, std::memory_order_acquire)) [[likely]] {
    return {};
  }
  return detail::acquire_contended(lock, mine, instances);
}

// Precondition: the caller's thread holds it. One store: death before it leaves the lock to be
// taken over, after it leaves it free.
inline void release(PoolLock& lock) { lock.owner.store(0, std::memory_order_release); }

class LockGuard {
 public:
  LockGuard(PoolLock& lock, InstanceId self, const InstanceTable& instances)
      : lock_(lock), result_(acquire(lock, self, instances)) {}
  ~LockGuard() { release(lock_); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;
  const LockResult& result() const { return result_; }

 private:
  PoolLock& lock_;
  LockResult result_;
};

}  // namespace dvm::fabric
