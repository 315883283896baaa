#include "tools/mapreduce/task_table.h"

namespace dvm::mapreduce {

using fabric::InstanceId;

bool TaskTable::take(u32 task, TaskWord from, InstanceId self) {
  u64 expected = from.packed();
  return words_[task].compare_exchange_strong(expected, TaskWord::running(self).packed(),
                                              std::memory_order_acq_rel);
}

TaskTable::Claim TaskTable::claim(InstanceId self, const fabric::InstanceTable& instances) {
  while (next_.load(std::memory_order_relaxed) < words_.size()) {
    const u64 task = next_.fetch_add(1, std::memory_order_relaxed);
    if (task >= words_.size()) break;
    if (take(static_cast<u32>(task), {}, self)) return {.task = static_cast<u32>(task)};
  }
  return search(self, instances);
}

TaskTable::Claim TaskTable::search(InstanceId self, const fabric::InstanceTable& instances) {
  bool all_done = true;
  for (u32 task = 0; task < words_.size(); ++task) {
    const TaskWord seen = look(task);
    if (seen.state == TaskState::done) continue;
    all_done = false;
    const bool stale = seen.state == TaskState::running && instances.is_stale(seen.owner);
    if (seen.state == TaskState::running && !stale) continue;
    if (take(task, seen, self)) return {.task = task, .again = true};
  }
  return {.all_done = all_done};
}

bool TaskTable::commit(u32 task, InstanceId self, u32 bytes) {
  u64 mine = TaskWord::running(self).packed();
  return words_[task].compare_exchange_strong(mine, TaskWord::done(bytes).packed(),
                                              std::memory_order_acq_rel);
}

u32 TaskTable::release(InstanceId dead) {
  u32 released = 0;
  for (auto& word : words_) {
    u64 named = TaskWord::running(dead).packed();
    if (word.compare_exchange_strong(named, TaskWord{}.packed(), std::memory_order_acq_rel))
      ++released;
  }
  return released;
}

}  // namespace dvm::mapreduce
