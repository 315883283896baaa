// A job of one application in a pool of its own: the fabric's records, the job's, the input and the
// results. Made once; run any number of times.
#pragma once

#include <memory>

#include "fabric/event_log.h"
#include "fabric/fabric_state.h"
#include "fabric/fault_board.h"
#include "fabric/pool.h"
#include "tools/mapreduce/job_record.h"
#include "tools/mapreduce/job_view.h"

namespace dvm::mapreduce {

// Processes: the maker and those that it forks, which inherit the mappings. `app` must outlive it.
class Job {
 public:
  // Makes the pool (a memfd) and the input from `seed`. Errors: those of lay_out and of the pool.
  static Result<std::unique_ptr<Job>> make(const App& app, u64 seed);

  // Back to the start: nothing done, no results, a fabric without members. Precondition: no process
  // of an earlier run lives.
  Status reset();
  // The gate: the first phase begins.
  void open();

  const App& app() const { return app_; }
  const JobLayout& layout() const { return layout_; }
  u32 phases() const { return static_cast<u32>(layout_.phases.size()); }
  // JobRecord::phase of a job that is over.
  u32 over() const { return phases() + 1; }
  JobView view() const { return {layout_, work_, data_.bytes()}; }
  TaskTable tasks(u32 phase) { return {view().words(phase), record_->cursors[phase].next}; }

  JobRecord& record() { return *record_; }
  fabric::InstanceTable& instances() { return *instances_; }
  fabric::FabricState& fabric() { return *fabric_; }
  fabric::EventLog& log() { return *log_; }
  fabric::FaultTable& faults() { return *faults_; }

 private:
  explicit Job(const App& app) : app_(app) {}
  Status map();

  const App& app_;
  JobLayout layout_;
  fabric::Pool pool_;
  u64 data_offset_ = 0;  // of the frames in the pool, bytes
  Mapping data_;
  std::span<std::byte> work_;
  JobRecord* record_ = nullptr;
  fabric::InstanceTable* instances_ = nullptr;
  fabric::FabricState* fabric_ = nullptr;
  fabric::EventLog* log_ = nullptr;
  fabric::FaultTable* faults_ = nullptr;
};

}  // namespace dvm::mapreduce
