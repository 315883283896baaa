// Asynchronous I/O of one process on one disk.
//
// Requests are handed to the queue's own thread, which submits them, reaps them and calls back. The
// vCPU threads that submit do not talk to the kernel themselves, because io_uring ties a request to
// the thread that submitted it: that thread's exit cancels what the kernel does in the background
// for it (flush, discard), and completions are work for that thread, which then leaves the guest.
// A submission wakes the thread only when it sleeps; requests that come while it works are found.
//
// Where the requests come from may be asked by that thread as well (OnLook), whenever poke() or the
// bell says that there may be some: then whoever has some need neither build nor submit them, and
// what comes while the thread works is found by it and needs no poke.
//
// Threads: submit, poke and in_flight any, also from within the callbacks; drain any but the
// queue's own.
//
// When the process is killed, requests in flight may go on: reads still write to their memory,
// writes still reach the disk. image_lock.h says how another process knows that none does any more.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "fabric/fd.h"
#include "srt/disk.h"
#include "srt/disk_request.h"

namespace dvm::srt {

class DiskEngine;

class DiskQueue {
 public:
  // Called on the queue's thread, for requests in the order in which they completed. By then the
  // depth they took is free again.
  using OnComplete = std::function<void(std::span<const DiskCompletion>)>;

  // When the queue's thread looks for requests: when the bell was rung, after other rounds of its
  // work, and before it sleeps: what comes after that last look has to poke.
  enum class Look { rung, working, last };
  // Called on the queue's thread; submits what it finds.
  using OnLook = std::function<void(Look)>;

  static constexpr u32 kDefaultDepth = 256;

  // `disk` outlives the queue. `depth` (1 to 4096) is how many requests can be in flight.
  static Result<std::unique_ptr<DiskQueue>> open(const Disk& disk, OnComplete on_complete,
                                                 u32 depth = kDefaultDepth, OnLook on_look = {});
  // Another engine, for disks that are not files of this host (nbd_engine.h).
  static Result<std::unique_ptr<DiskQueue>> open(std::unique_ptr<DiskEngine> engine,
                                                 OnComplete on_complete, u32 depth,
                                                 OnLook on_look = {});
  ~DiskQueue();  // drains
  DiskQueue(const DiskQueue&) = delete;
  DiskQueue& operator=(const DiskQueue&) = delete;

  // Takes as many of the requests, from the first on, as there is room for; the rest is to be
  // submitted again after a completion. Each one taken is completed exactly once.
  [[nodiscard]] std::size_t submit(std::span<const DiskRequest> requests);
  // Has the thread look.
  void poke();
  // An eventfd: writing to it is a poke.
  const Fd& bell() const;
  // Waits until the thread has looked once more, found nothing to do, and everything submitted is
  // completed and the callback has returned.
  void drain();
  u32 in_flight() const;

 private:
  struct State;
  explicit DiskQueue(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dvm::srt
