// What a task may look at.
#pragma once

#include <span>

#include "tools/mapreduce/job_layout.h"
#include "tools/mapreduce/task_table.h"

namespace dvm::mapreduce {

class JobView {
 public:
  JobView(const JobLayout& layout, std::span<std::byte> work, std::span<std::byte> data)
      : layout_(layout), work_(work), data_(data) {}

  std::span<const std::byte> input() const { return data_.first(layout_.input_bytes); }
  std::span<std::byte> table() const {
    return work_.subspan(layout_.table_at, layout_.table_bytes);
  }
  u32 tasks(u32 phase) const { return layout_.phases[phase].tasks; }
  // The result of a task that is done; empty for one that is not.
  std::span<const std::byte> result(u32 phase, u32 task) const;
  // The place of a task's result, for who does the task.
  std::span<std::byte> place(u32 phase, u32 task) const;
  // The task words of a phase.
  std::span<std::atomic<u64>> words(u32 phase) const;

 private:
  const JobLayout& layout_;
  const std::span<std::byte> work_, data_;
};

// A span of whole values of T in bytes that are aligned for it (results and tables are).
template <typename T>
std::span<const T> values_in(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}
template <typename T>
std::span<T> values_in(std::span<std::byte> bytes) {
  return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
}

}  // namespace dvm::mapreduce
