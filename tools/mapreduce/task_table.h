// The tasks of one phase, in the pool: who takes which, and whether all are done.
#pragma once

#include <optional>
#include <span>

#include "tools/mapreduce/task_word.h"

namespace dvm::mapreduce {

// Threads and processes: any. `next` is a hint of the first task that nobody has taken yet: it
// keeps workers apart while there is enough to do, and decides nothing. The words are the truth.
//
// Death before the exchange of `claim`: nothing, or a task that `next` has passed and that the
// search at the phase's end finds. Between claim and commit: a task that names the dead, which
// `release` frees, or which another claims as soon as its owner is stale. After commit: a done one.
class TaskTable {
 public:
  TaskTable(std::span<std::atomic<u64>> words, std::atomic<u64>& next)
      : words_(words), next_(next) {}

  struct Claim {
    std::optional<u32> task;  // now running for the caller
    bool again = false;       // it was begun before by one that died
    bool all_done = false;    // nothing is left to do in this phase, nor being done
  };
  // Neither a task nor all done: the others' tasks are still running.
  Claim claim(fabric::InstanceId self, const fabric::InstanceTable& instances);
  // The result is written; from this one step on it counts. False: the task is not the caller's
  // (any more), so the result does not count.
  bool commit(u32 task, fabric::InstanceId self, u32 bytes);
  // Frees what a dead instance was doing; returns how many. Precondition: it has been retired.
  // Idempotent.
  u32 release(fabric::InstanceId dead);

  u32 size() const { return static_cast<u32>(words_.size()); }
  TaskWord look(u32 task) const {
    return TaskWord::unpack(words_[task].load(std::memory_order_acquire));
  }

 private:
  bool take(u32 task, TaskWord from, fabric::InstanceId self);
  Claim search(fabric::InstanceId self, const fabric::InstanceTable& instances);

  const std::span<std::atomic<u64>> words_;
  std::atomic<u64>& next_;
};

}  // namespace dvm::mapreduce
