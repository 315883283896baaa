// Who does a long piece of work, in one word of the pool: 0, or the packed instance that does it.
// Unlike a lock nobody waits for it, and who has it may block; like a lock it passes from the dead
// to the living, to exactly one of them. Death at any instruction leaves a free word or one that
// names a stale owner; the work has to be such that it can be done again from what is in the pool.
#pragma once

#include <atomic>

#include "fabric/instance.h"

namespace dvm::fabric {

// False: another living instance, or another thread of this one, does it.
inline bool claim(std::atomic<u64>& word, InstanceId self, const InstanceTable& instances) {
  u64 owner = word.load(std::memory_order_acquire);
  if (owner != 0 && !instances.is_stale(InstanceId::unpack(owner))) return false;
  return word.compare_exchange_strong(owner, self.packed(), std::memory_order_acq_rel);
}

// Precondition: claimed by the caller. The work is done, or given up.
inline void disclaim(std::atomic<u64>& word) { word.store(0, std::memory_order_release); }

}  // namespace dvm::fabric
