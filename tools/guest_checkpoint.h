// `dvm-ctl checkpoint`: a running guest into a file (vmm/checkpoint/).
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>

#include "fabric/part_file.h"
#include "tools/control_protocol.h"
#include "tools/disk_launch.h"
#include "tools/long_request.h"
#include "vmm/checkpoint/take.h"

namespace dvm::tools {

struct CheckpointOptions {
  std::string path;
  std::optional<std::string> base;  // only what differs from it is written
  bool stop = false;                // the guest ends, and its disks stay as they are
  // For others that run beside it, with its clock; `path` is a file without a name.
  bool fork = false;
  std::vector<DiskCopy> copies;  // of disks, as they are while the guest stands still
};

// The newest checkpoint of a guest, or the one that it came from: what an incremental one is taken
// on. Threads: any.
class LastCheckpoint {
 public:
  explicit LastCheckpoint(std::string path = "") : path_(std::move(path)) {}
  std::string path() const {
    const std::lock_guard guard(mutex_);
    return path_;
  }
  void taken(const std::string& path) {
    const std::lock_guard guard(mutex_);
    path_ = path;
  }

 private:
  mutable std::mutex mutex_;
  std::string path_;
};

// Refuses what cannot be done, before anything has been.
Status check_checkpoint(const vmm::Machine& machine, const GuestDisks* disks,
                        const CheckpointOptions& options);

// On a thread of its own. The guest stands still while its pages are written. The file appears when
// it is whole; with `stop`, once the guest has ended.
class GuestCheckpoint : public LongRequest {
 public:
  // What `parts` names outlives this, as `machine` does.
  GuestCheckpoint(vmm::Machine& machine, const RequestParts& parts, CheckpointOptions options,
                  RequestListener listener);
  ~GuestCheckpoint() override;
  GuestCheckpoint(const GuestCheckpoint&) = delete;
  GuestCheckpoint& operator=(const GuestCheckpoint&) = delete;

 private:
  Status take();
  Result<vmm::checkpoint::Written> write(fabric::PartFile& file);
  Status go_on(u64 pages);
  Status await_end() const;

  vmm::Machine& machine_;
  const RequestParts parts_;
  const CheckpointOptions options_;
  const RequestListener listener_;
  std::atomic<bool> cancelled_{false};
  u64 said_ns_ = 0;
  std::thread thread_;
};

}  // namespace dvm::tools
