#include "tools/mapreduce/job_view.h"

#include <algorithm>

namespace dvm::mapreduce {

std::span<const std::byte> JobView::result(u32 phase, u32 task) const {
  const TaskWord word = TaskWord::unpack(words(phase)[task].load(std::memory_order_acquire));
  if (word.state != TaskState::done) return {};
  // No length in the pool leads out of the place.
  const auto place_of_it = place(phase, task);
  return place_of_it.first(std::min<u64>(word.bytes, place_of_it.size()));
}

std::span<std::byte> JobView::place(u32 phase, u32 task) const {
  const auto& p = layout_.phases[phase];
  return data_.subspan(p.first_result + p.stride * task, p.result_bytes);
}

std::span<std::atomic<u64>> JobView::words(u32 phase) const {
  const auto& p = layout_.phases[phase];
  return values_in<std::atomic<u64>>(
      work_.subspan(layout_.words_at + 8 * p.first_word, 8 * u64{p.tasks}));
}

std::vector<std::byte> App::output(const JobView& job) const {
  const auto last = static_cast<u32>(phases().size() - 1);
  std::vector<std::byte> all;
  for (u32 task = 0; task < job.tasks(last); ++task) {
    const auto part = job.result(last, task);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace dvm::mapreduce
