// What a MapReduce application is to the library: an input, and phases of tasks over it.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::mapreduce {

inline constexpr u32 kMaxPhases = 64;
inline constexpr u32 kMaxTasks = 1u << 20;  // of a phase

// A map phase's tasks read parts of the input; a reduce phase's read results of earlier phases.
// Nobody begins a phase before the one before it is done.
struct Phase {
  std::string_view name;
  u32 tasks = 0;         // 1 to kMaxTasks
  u64 result_bytes = 0;  // the most that a task's result takes; below 4 GiB
};

class JobView;

// Stateless: the same object serves every process, and one task may be run by several, one after
// the other. So a task's result depends on nothing but the input and results of earlier phases, and
// a task writes nothing but its result (and the table, by steps that change nothing when repeated).
class App {
 public:
  virtual ~App() = default;
  virtual std::string_view name() const = 0;
  virtual u64 input_bytes() const = 0;
  // Memory in the pool that all tasks share; zero when the job begins.
  virtual u64 table_bytes() const { return 0; }
  virtual std::vector<Phase> phases() const = 0;  // 1 to kMaxPhases
  // Fills `input`, the same for the same seed.
  virtual void make_input(std::span<std::byte> input, u64 seed) const = 0;
  // Does a task; returns the length of its result in bytes. `result` is aligned to a cache line,
  // as long as the phase says, and holds rubbish if the task was begun before.
  virtual u64 run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const = 0;
  // What the job, when it is over, has come to: the last phase's results, one after the other.
  virtual std::vector<std::byte> output(const JobView& job) const;
  // Whether `output` is right, told by plain sequential code. The error says what is wrong.
  virtual Status check(std::span<const std::byte> input,
                       std::span<const std::byte> output) const = 0;
};

}  // namespace dvm::mapreduce
