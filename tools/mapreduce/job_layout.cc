#include "tools/mapreduce/job_layout.h"

#include <limits>

#include "tools/mapreduce/job_record.h"

namespace dvm::mapreduce {
namespace {

constexpr u64 kLine = 64;
constexpr u64 kMostBytes = 1ull << 40;  // of anything here: keeps sums from overflowing

}  // namespace

Result<JobLayout> lay_out(const App& app) {
  JobLayout layout;
  const auto phases = app.phases();
  if (phases.empty() || phases.size() > kMaxPhases)
    return error("{}: {} phases, 1 to {} are possible", app.name(), phases.size(), kMaxPhases);
  layout.input_bytes = app.input_bytes();
  layout.table_bytes = app.table_bytes();
  if (layout.input_bytes > kMostBytes || layout.table_bytes > kMostBytes)
    return error("{}: input or table is too large", app.name());
  layout.results_at = align_up(layout.input_bytes, kPageBytes);
  layout.data_bytes = layout.results_at;
  for (const Phase& phase : phases) {
    if (phase.tasks == 0 || phase.tasks > kMaxTasks ||
        phase.result_bytes > std::numeric_limits<u32>::max())
      return error("{}: phase {} is out of range", app.name(), phase.name);
    const u64 stride = align_up(phase.result_bytes, kLine);
    layout.phases.push_back(
        {phase.tasks, layout.tasks, layout.data_bytes, phase.result_bytes, stride});
    layout.tasks += phase.tasks;
    layout.data_bytes += align_up(stride * phase.tasks, kPageBytes);
    if (layout.data_bytes > kMostBytes)
      return error("{}: results of {} are too large", app.name(), phase.name);
  }
  layout.words_at = align_up(sizeof(JobRecord), kLine);
  layout.table_at = align_up(layout.words_at + 8 * layout.tasks, kLine);
  layout.work_bytes = layout.table_at + layout.table_bytes;
  return layout;
}

}  // namespace dvm::mapreduce
