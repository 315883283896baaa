// A job's state in the pool, but for its task words: in which phase it is, and what its processes
// tell each other. All zero is a job whose gate is closed.
#pragma once

#include <array>

#include "fabric/doorbell.h"
#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

struct alignas(64) TaskCursor {
  std::atomic<u64> next;  // a hint, see TaskTable
};

// `phase` goes up by compare-and-swap, once all tasks of the phase are seen done: by whoever sees
// it. Death before that step: another sees it. After it, before `moved` is rung: the recovery of
// the dead rings.
struct JobRecord {
  static constexpr u32 kClosed = 0;  // before the first phase; phase n (from 0) has n + 1

  alignas(64) std::atomic<u32> phase;
  fabric::Doorbell moved;  // the phase went up, or tasks of a dead worker are free again
  std::atomic<u64> started_ns, ended_ns;  // CLOCK_MONOTONIC; ended_ns 0: not yet
  // For people and for the moments of crashes: a death between a step and its count loses the
  // count.
  alignas(64) std::atomic<u64> committed;
  std::atomic<u64> begun_again;
  std::atomic<u64> released;
  std::array<TaskCursor, kMaxPhases> cursors;
};
static_assert(sizeof(JobRecord) == 128 + 64 * kMaxPhases);
inline constexpr u32 kWorkVersion = 1;

}  // namespace dvm::mapreduce
