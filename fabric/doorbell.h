// Waking someone on this host: a futex word in the pool for sleepers, a signal for a thread that
// runs guest code. Across hosts: bell_transport.h.
#pragma once

#include <atomic>
#include <optional>

#include "fabric/types.h"

namespace dvm::fabric {

// A counter that only grows; a sleeper waits for it to move on from what it last saw, so that no
// ring between look and sleep is lost. Death of a ringer or a sleeper leaves nothing to mend.
struct Doorbell {
  std::atomic<u32> rings;
};
static_assert(sizeof(Doorbell) == 4);

inline u32 listen(const Doorbell& bell) { return bell.rings.load(std::memory_order_acquire); }
void ring(Doorbell& bell);
// Sleeps until the bell has moved on from `seen`, a signal arrives, or CLOCK_MONOTONIC reaches
// `deadline_ns`. Spurious returns happen; the caller looks again.
void wait(const Doorbell& bell, u32 seen, std::optional<u64> deadline_ns);

// The signal that takes a vCPU thread out of the guest.
int kick_signal();
// Threads: any, of any process of the same user. A thread that is gone is no error.
void kick_thread(i32 pid, i32 tid);

u64 monotonic_ns();

}  // namespace dvm::fabric
