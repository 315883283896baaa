#include "fabric/pool_lock.h"

#include "fabric/backoff.h"
#include "fabric/failpoint.h"

namespace dvm::fabric::detail {

LockResult acquire_contended(PoolLock& lock, u64 mine, const InstanceTable& instances) {
  Backoff backoff;
  for (;;) {
    u64 seen = lock.owner.load(std::memory_order_relaxed);
    if (seen == 0) {
      if (lock.owner.compare_exchange_strong(seen, mine, std::memory_order_acquire)) return {};
      continue;
    }
    if (!backoff.spin()) continue;
    // The owner may have been stopped for good: its word is taken over as it stands, so that of all
    // the survivors exactly one gets it.
    const InstanceId holder = InstanceId::unpack(seen);
    if (instances.is_stale(holder)) {
      failpoint("pool_lock.found_dead");
      if (lock.owner.compare_exchange_strong(seen, mine, std::memory_order_acquire)) {
        failpoint("pool_lock.taken_over");
        return {holder};
      }
      continue;
    }
    backoff.rest();
  }
}

}  // namespace dvm::fabric::detail
