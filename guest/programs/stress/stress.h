// The parts of smp_stress. Each runs for about `seconds`, reports into `verdict`, and returns how
// many operations it checked.
#pragma once

#include "../common.h"

namespace stress {

struct Context {
  std::vector<int> cpus;
  guest::Verdict* verdict;
  double seconds;
  uint64_t round;
  bool split_locks;
};

uint64_t Atomics(const Context& context);
uint64_t Locks(const Context& context);
uint64_t FutexPingPong(const Context& context);
uint64_t Signals(const Context& context);
uint64_t Migrations(const Context& context);
uint64_t Membarriers(const Context& context);
uint64_t Remaps(const Context& context);
uint64_t WriteProtection(const Context& context);
uint64_t Unmaps(const Context& context);
uint64_t Registers(const Context& context);
uint64_t Processes(const Context& context);

// What an exec'ed copy of the program does: answers on stdout with a function of its argument.
int ProcessesChild(const char* argument);

uint64_t Fnv(const void* data, size_t size);

// Adds from many threads without sharing a cache line while they run.
class alignas(64) Count {
 public:
  uint64_t value = 0;
};

inline uint64_t Sum(const std::vector<Count>& counts) {
  uint64_t sum = 0;
  for (const Count& count : counts) sum += count.value;
  return sum;
}

}  // namespace stress
