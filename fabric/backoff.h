// How a waiter for a pool lock waits: it spins while the holder may be running, gives its processor
// away when contenders exceed processors, and sleeps in short steps when the wait is long (the
// holder hangs, or is dead and not yet announced).
#pragma once

#include <sched.h>

#include <ctime>

#include "fabric/types.h"

namespace dvm::fabric {

class Backoff {
 public:
  static constexpr u32 kSpins = 64;     // pauses between two looks for the dead
  static constexpr u32 kYields = 4096;  // then it sleeps
  static constexpr long kSleepNanoseconds = 50'000;

  // One short wait. True when the spins of this round are used up: the caller looks whether the
  // one it waits for is dead, then calls `rest`.
  bool spin() {
    if (++spins_ < kSpins) {
      __builtin_ia32_pause();
      return false;
    }
    return true;
  }
  void rest() {
    if (rests_ < kYields) {
      ++rests_;
      ::sched_yield();
      return;
    }
    const timespec t{0, kSleepNanoseconds};
    ::nanosleep(&t, nullptr);
  }

 private:
  u32 spins_ = 0;
  u32 rests_ = 0;
};

}  // namespace dvm::fabric
