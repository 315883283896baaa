// Asynchronous I/O of one process on one disk.
//
// Requests are handed to the queue's own thread, which submits them, reaps them and calls back. The
// vCPU threads that submit do not talk to the kernel themselves, because io_uring ties a request to
// the thread that submitted it: that thread's exit cancels what the kernel does in the background
// for it (flush, discard), and completions are work for that thread, which then leaves the guest.
// A submission wakes the thread only when it sleeps; requests that come while it works are found.
//
// Threads: submit and in_flight any, also from within the callback; drain any but the queue's own.
//
// When the process is killed, requests in flight may go on: reads still write to their memory,
// writes still reach the disk. image_lock.h says how another process knows that none does any more.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "srt/disk.h"
#include "srt/disk_request.h"

namespace dvm::srt {

class DiskEngine;

class DiskQueue {
 public:
  // Called on the queue's thread, for requests in the order in which they completed. By then the
  // depth they took is free again.
  using OnComplete = std::function<void(std::span<const DiskCompletion>)>;

  static constexpr u32 kDefaultDepth = 256;

  // `disk` outlives the queue. `depth` (1 to 4096) is how many requests can be in flight.
  static Result<std::unique_ptr<DiskQueue>> open(const Disk& disk, OnComplete on_complete,
                                                 u32 depth = kDefaultDepth);
  // Another engine, for disks that are not files of this host (nbd_engine.h).
  static Result<std::unique_ptr<DiskQueue>> open(std::unique_ptr<DiskEngine> engine,
                                                 OnComplete on_complete, u32 depth);
  ~DiskQueue();  // drains
  DiskQueue(const DiskQueue&) = delete;
  DiskQueue& operator=(const DiskQueue&) = delete;

  // Takes as many of the requests, from the first on, as there is room for; the rest is to be
  // submitted again after a completion. Each one taken is completed exactly once.
  [[nodiscard]] std::size_t submit(std::span<const DiskRequest> requests);
  // Waits until everything submitted is completed and the callback has returned.
  void drain();
  u32 in_flight() const;

 private:
  struct State;
  explicit DiskQueue(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dvm::srt
