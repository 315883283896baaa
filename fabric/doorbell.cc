#include "fabric/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <ctime>

#include "fabric/partition.h"

namespace dvm::fabric {

void ring(Doorbell& bell) {
  bell.rings.fetch_add(1, std::memory_order_acq_rel);
  ::syscall(SYS_futex, &bell.rings, FUTEX_WAKE_BITSET, INT_MAX, nullptr, nullptr, reach());
}

void wait(const Doorbell& bell, u32 seen, std::optional<u64> deadline_ns) {
  timespec until{};
  if (deadline_ns) {
    until.tv_sec = static_cast<time_t>(*deadline_ns / 1'000'000'000);
    until.tv_nsec = static_cast<long>(*deadline_ns % 1'000'000'000);
  }
  // BITSET takes an absolute CLOCK_MONOTONIC time. The word is shared between processes.
  ::syscall(SYS_futex, &bell.rings, FUTEX_WAIT_BITSET, seen, deadline_ns ? &until : nullptr,
            nullptr, own_partition_bit());
}

int kick_signal() { return SIGRTMIN; }

void kick_thread(i32 pid, i32 tid) {
  if (pid > 0 && tid > 0) ::syscall(SYS_tgkill, pid, tid, kick_signal());
}

u64 monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

}  // namespace dvm::fabric
