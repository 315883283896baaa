// Serves the queues of one block device in this process: what the driver asks for goes to the
// process's DiskQueue, and what that has done goes back to the driver.
//
// A chain is held in the pool (queue_hold) from the step that takes it to the one that gives it
// back, so that after a death a survivor knows which requests were on their way and finds each
// again from its chain. Doing a request twice does no harm: the driver has not been told that it is
// done, so it has neither reused the memory nor asked for anything that relies on the write. It is
// issued again when the dead one's I/O is over (disk_takeover.h). docs/takeover.md has what a death
// at each point leaves.
//
// All of it is done on the DiskQueue's thread: a vCPU that notifies does no more than tell it which
// queue to look at, and need not while that thread works.
//
// Threads: serve any (vCPUs').
#pragma once

#include <atomic>
#include <deque>
#include <vector>

#include "fabric/peer.h"
#include "srt/disk_queue.h"
#include "vmm/disk_operation.h"
#include "vmm/disk_takeover.h"
#include "vmm/machine.h"

namespace dvm::vmm {

// What a block function's configuration and present size make of it.
BlkGeometry block_geometry(const FunctionConfig& config, u64 capacity);

class DiskServer final : public QueueServer {
 public:
  // How this process reaches the disk: makes the queue that is to call back.
  using OpenQueue = std::function<Result<std::unique_ptr<srt::DiskQueue>>(
      srt::DiskQueue::OnComplete, srt::DiskQueue::OnLook)>;
  // Until it is destroyed, which waits for all that is in flight, it serves the function. The
  // disk's thread is registered with `peer`, if there is one.
  static Result<std::unique_ptr<DiskServer>> open(Machine& machine, u32 function,
                                                  const OpenQueue& open_queue,
                                                  DiskTakeover::Drained drained, fabric::Peer* peer,
                                                  std::unique_ptr<srt::DiskReplicas> replicas = {});
  ~DiskServer();

  void serve(u16 queue, bool again) override;
  // A write to this eventfd is a notification of each queue that has been notified here before.
  const Fd& bell() const { return disk_->bell(); }
  u64 notified_before() const { return known_.load(std::memory_order_relaxed); }
  // Requests of the guest that the disk has in hand, for this process.
  u32 in_flight() const { return disk_->in_flight(); }
  // An epoch has ended.
  void committed() { disk_->poke(); }
  // Waits until nothing of this process's is in flight, or waits to be looked at or, taken over
  // from the dead, to be issued again. No vCPU of its runs.
  void drain();

 private:
  DiskServer(Machine& machine, u32 function, DiskTakeover::Drained drained, fabric::Peer* peer);
  void look(srt::DiskQueue::Look why);
  void take_over();
  void resume(u16 queue, u32 generation, std::span<const DiskTakeover::Held> held);
  Status take_all(QueueState& state, const LiveQueue& live, u16 queue, WhenEmpty when_empty);
  BlkGeometry geometry() const;
  Status begin(QueueState& state, const LiveQueue& live, u16 queue, const Chain& chain,
               const BlkGeometry& present);
  Status answer(QueueState& state, const BlkRequest& request, const BlkGeometry& geometry);
  bool is_held_back(const DiskOperation& operation) const;
  void drop_held();
  void hold_back_waiting();
  DiskOperation* new_operation();
  struct Ended {
    DiskOperation* operation;
    int error;
  };
  void finish(std::span<const Ended> done);
  void submit_waiting();
  void completed(std::span<const srt::DiskCompletion> done);
  void count(const BlkRequest& request, bool failed);

  Machine& machine_;
  const u32 function_;
  fabric::Peer* const peer_;
  std::atomic<u64> notified_ = 0;  // queues, by their bits
  std::atomic<u64> known_ = 0;     // that ever were
  std::atomic<u64> orphaned_ = 0;  // that somebody may have served who died
  static_assert(kMaxVirtioQueues <= 64);

  // The thread's own.
  u64 watched_ = 0;  // queues whose drivers were not asked to notify
  std::vector<std::unique_ptr<DiskOperation>> operations_;
  std::vector<DiskOperation*> free_;
  std::deque<DiskOperation*> waiting_;  // taken, and no room for them in disk_ yet

  // Writes of an epoch that has not ended: they leave the machine when it has.
  std::deque<DiskOperation*> held_back_;
  std::atomic<u64> held_count_ = 0;

  std::unique_ptr<srt::DiskReplicas> replicas_;  // nullptr: the machine has no table
  DiskTakeover takeover_;
  std::unique_ptr<srt::DiskQueue> disk_;  // first to end
};

}  // namespace dvm::vmm
