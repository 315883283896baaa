// A disk's I/O by io_uring.
//
// One thread submits and reaps (SINGLE_ISSUER, DEFER_TASKRUN), so completions cost no interrupts of
// other threads. The file is not registered with the ring: a registered one stays referred to until
// the kernel has torn the whole ring down, some time after the last request of a killed process has
// ended, and a survivor that waits for its fence would wait for that too (README.md has figures).
#pragma once

#include <liburing.h>

#include "srt/disk.h"
#include "srt/disk_engine.h"

namespace dvm::srt {

class UringEngine final : public DiskEngine {
 public:
  explicit UringEngine(const Disk& disk) : disk_(disk) {}
  ~UringEngine() override;

  Status prepare(u32 depth) override;
  void enter() override;
  void start(DiskTask& task) override;
  bool run(bool block, std::vector<EndedTask>& ended) override;
  const Fd& bell() const override { return bell_; }

 private:
  void issue(DiskTask& task);
  void transfer(DiskTask& task, io_uring_sqe* sqe);
  void completed(DiskTask& task, int result);
  void zeroes_completed(DiskTask& task, int result);
  void end(DiskTask& task, int error);
  void listen();

  const Disk& disk_;
  io_uring ring_{};
  bool made_ = false;
  Fd bell_;
  u64 rung_ = 0;                  // read into
  int lost_ = 0;                  // errno of a write-back that failed: no flush may succeed again
  std::vector<EndedTask> ended_;  // not yet told
};

}  // namespace dvm::srt
