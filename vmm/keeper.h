// A node's keeper: a process of its own that shares the node's memory and descriptors, and so
// outlives its SIGKILL with all that KVM knows of the vCPUs. When the node's last thread has ended
// it reads the vCPUs' states by the ordinary ioctls, leaves them in the pool to heirs, and ends.
//
// The heap may be locked by a thread that is no more, so the keeper allocates nothing, takes no
// lock of the process's or the pool's, and runs no device: what an exit is still owed, one of the
// living does (keeper_record.h). Only an ioctl that fails makes a message, and may wait for ever
// over that: whoever waits for the keeper has a deadline.
//
// Its thread-local storage is that of a thread of the node which does nothing else. It is a child
// of the node's parent, who collects it.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "vmm/machine.h"

namespace dvm::vmm {

class VcpuThread;

class Keeper {
 public:
  // Of the calling process. Outlives all that is registered.
  static Result<std::unique_ptr<Keeper>> start(Machine& machine, u32 node);
  // The process goes with this one, when that ends in order.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // What there is to read, from before the vCPU first runs here until its KVM vCPU goes. Threads:
  // the node's main one.
  void keep(u32 vcpu, VcpuThread* thread) { threads_[vcpu].store(thread); }
  void forget(u32 vcpu) { threads_[vcpu].store(nullptr); }

 private:
  Keeper(Machine& machine, u32 node);
  void make_process();
  static int process(void* keeper);
  void register_life();
  void run();
  bool wanted() const;

  Machine& machine_;
  const u32 node_;
  KeeperRecord& record_;
  Fd node_process_;  // pidfd of the node's
  std::array<std::atomic<VcpuThread*>, layout::kMaxVcpus> threads_{};
  std::atomic<int> pid_{0};  // -errno: it could not be made
  std::thread storage_;      // whose thread-local storage it has
  // What the kernel walks when the keeper ends (fabric/life_word.h).
  robust_list entry_{};
  robust_list_head head_{};
};

// Answers keepers that ask, of nodes that have been fenced. Thread: a living node's main one.
void help_keepers(Machine& machine);
// What a dead node had been given and not taken yet goes to others, and what had not run yet. Any
// node, any number of times.
void pass_on_vcpus(Machine& machine, u32 dead);

}  // namespace dvm::vmm
