// Disk requests of processes that died, on their way to being issued again by this one. That has to
// wait until nothing that the dead had in flight can reach the disk or guest memory any more, which
// the kernel may need a while for (srt/README.md); the disk's own thread does not wait for it.
//
// Any process that has ended counts, not only the one the requests were taken from: that one may
// have had them from another, whose I/O goes on longer.
//
// Threads: take_over, release and drop the disk's; the others any, stop before `tell` may not be
// called any more.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "vmm/machine.h"

namespace dvm::vmm {

class DiskTakeover {
 public:
  // A chain that this process holds (queue_hold).
  struct Held {
    u16 queue;
    u16 head;
    u32 generation;
  };
  // Is nothing of any process that has ended in flight on this disk?
  using Drained = std::function<bool()>;
  // `tell`: release() may have something to give; from a thread of this object's.
  DiskTakeover(Drained drained, std::function<void()> tell);
  ~DiskTakeover() { stop(); }
  DiskTakeover(const DiskTakeover&) = delete;
  DiskTakeover& operator=(const DiskTakeover&) = delete;

  void take_over(u16 queue, const TakenOver& chains);
  // All that waits, once it may be issued; until then nothing, and `tell` comes.
  struct Released {
    std::vector<Held> chains;
    u64 waited_ns = 0;
  };
  Released release();
  void drop();  // what waits is of no use any more
  void stop();

  bool waits() const { return waiting_.load() != 0; }
  u64 total() const { return total_.load(); }  // chains ever taken over

 private:
  void watch();

  const Drained drained_;
  const std::function<void()> tell_;
  std::vector<Held> held_;
  u64 since_ns_ = 0;  // that the first of them waits
  std::atomic<u64> waiting_ = 0, total_ = 0;
  std::atomic<bool> watching_ = false;
  std::jthread watcher_;
};

}  // namespace dvm::vmm
