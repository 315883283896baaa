// The vCPU threads of a node: of those that run here, and of those that were here or are to come. A
// KVM vCPU cannot be unmade while its VM lives, so one that has gone is kept for the next time.
//
// Threads: the node's main one.
#pragma once

#include <memory>
#include <vector>

#include "vmm/keeper.h"
#include "vmm/vcpu_thread.h"

namespace dvm::vmm {

class NodeVcpus {
 public:
  // `vm` has the guest's memory, and outlives it.
  // `keeper`: of this process, or nullptr.
  NodeVcpus(Machine& machine, Vm& vm, fabric::Peer& peer, Keeper* keeper = nullptr);
  ~NodeVcpus() { join(); }
  NodeVcpus(const NodeVcpus&) = delete;
  NodeVcpus& operator=(const NodeVcpus&) = delete;

  // Of a VM that no boot has used yet: KVM vCPUs which `make` will want, should it be given that
  // VM. Any thread.
  static Status make_ahead(const Machine& machine, Vm& vm, u32 node);
  // Makes those that are placed here, and with a keeper what all others may come to; `start` lets
  // them run.
  Status make();
  void start();
  // Makes room for those that are to come, when their bell is not yet heard by a thread here; calls
  // off what can come to nothing. After every ring of the node's bell.
  void look_at_moves();
  void publish_stats();
  // Returns when all threads have left: the phase must be resetting or stopped.
  void join();
  // The same for a node that has no vCPU and gets none.
  void dismiss();

 private:
  VcpuThread* find(u32 vcpu) const;
  Status add(u32 vcpu);
  void adopt(u32 vcpu);

  Machine& machine_;
  Vm& vm_;
  fabric::Peer& peer_;
  Keeper* const keeper_;
  const u32 node_;
  std::vector<std::unique_ptr<VcpuThread>> threads_;
};

}  // namespace dvm::vmm
