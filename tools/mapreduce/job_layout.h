// Where everything of a job lies in the pool. It follows from the application, so each process
// works it out for itself and no offset is read from the pool.
#pragma once

#include <vector>

#include "tools/mapreduce/app.h"

namespace dvm::mapreduce {

struct JobLayout {
  struct PhasePlace {
    u32 tasks = 0;
    u64 first_word = 0;    // index of its first task word
    u64 first_result = 0;  // in the data, bytes; page aligned
    u64 result_bytes = 0;  // the most of one result
    u64 stride = 0;        // between results, bytes: whole cache lines
  };
  // In the work region: the JobRecord, then task words, then the table.
  u64 words_at = 0;
  u64 table_at = 0;
  u64 table_bytes = 0;
  u64 work_bytes = 0;
  // In the data (the pool's frames): the input at 0, then the results.
  u64 input_bytes = 0;
  u64 results_at = 0;
  u64 data_bytes = 0;
  u64 tasks = 0;  // of all phases
  std::vector<PhasePlace> phases;
};

// Error: the application asks for no phase, too many, or sizes out of range.
Result<JobLayout> lay_out(const App& app);

}  // namespace dvm::mapreduce
