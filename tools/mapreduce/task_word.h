// The word that decides about one task: free, being done by an instance, or done. Every change is
// one compare-and-swap, so a task's result counts once, whoever dies and whoever did it again.
#pragma once

#include "fabric/instance.h"

namespace dvm::mapreduce {

enum class TaskState : u32 { free = 0, running = 1, done = 2 };

// running: {generation 32, id 8, state 8}. done: {length of the result in bytes 32, state 8}: the
// store that makes a result count also says how long it is. The zeroed word is a free task.
struct TaskWord {
  TaskState state = TaskState::free;
  fabric::InstanceId owner;  // of a running one
  u32 bytes = 0;             // of a done one

  constexpr u64 packed() const {
    const u64 low = static_cast<u64>(state);
    if (state == TaskState::running)
      return (static_cast<u64>(owner.generation) << 32) | (static_cast<u64>(owner.id) << 8) | low;
    return (static_cast<u64>(bytes) << 32) | low;
  }
  static constexpr TaskWord unpack(u64 word) {
    const auto state = static_cast<TaskState>(word & 0xff);
    const u32 high = static_cast<u32>(word >> 32);
    if (state == TaskState::running) return {state, {static_cast<u32>(word >> 8) & 0xff, high}, 0};
    return {state, {}, high};
  }
  static constexpr TaskWord running(fabric::InstanceId owner) {
    return {TaskState::running, owner, 0};
  }
  static constexpr TaskWord done(u32 bytes) { return {TaskState::done, {}, bytes}; }
  friend constexpr bool operator==(const TaskWord&, const TaskWord&) = default;
};
static_assert(fabric::kMaxInstances <= 256);
static_assert(TaskWord{}.packed() == 0);

}  // namespace dvm::mapreduce
