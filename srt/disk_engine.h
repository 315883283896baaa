// What a DiskQueue is driven by: io_uring for files of this host, NBD for others.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <vector>

#include "fabric/fd.h"
#include "fabric/result.h"
#include "srt/disk_request.h"
#include "srt/transfer.h"

namespace dvm::srt {

// A request in flight. The queue owns it; the engine uses it between start() and its end.
struct DiskTask {
  DiskRequest request;  // its buffers are ours
  std::vector<iovec> buffers;
  Transfer transfer;  // of a read, a write or zeroes written out
  u16 attempts = 0;   // the engine's
  u16 stage = 0;      // the engine's
};

struct EndedTask {
  DiskTask* task;
  int error;  // an errno, or 0
};

// Threads: all on the queue's thread but wake().
class DiskEngine {
 public:
  virtual ~DiskEngine() = default;
  // At most `depth` tasks will be started and not ended. Called once, before anything else, by the
  // thread that makes the queue.
  virtual Status prepare(u32 depth) = 0;
  // Called first on the queue's thread.
  virtual void enter() = 0;
  // Begins a request, which the queue has checked against its buffers.
  virtual void start(DiskTask& task) = 0;
  // Sends what was started, and appends tasks that have ended. With `block`, waits for one or for
  // wake(), which may have come before; it may also return for no reason. True: the bell was rung.
  virtual bool run(bool block, std::vector<EndedTask>& ended) = 0;
  virtual const Fd& bell() const = 0;  // an eventfd, from prepare() on: writing to it is wake()
  void wake() const;                   // any thread
};

inline void DiskEngine::wake() const {
  const u64 one = 1;
  while (::write(bell().get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

}  // namespace dvm::srt
