// This process as a member of the page coherence protocol: guest memory is then what the node's
// pager shows, and every access to it, by KVM, by a device or by a loader, is coherent.
//
// Members are the nodes, by their index, and at the last place dvm-net, which holds memory only.
#pragma once

#include <memory>
#include <mutex>

#include "fabric/peer.h"
#include "hyperkernel/pager.h"
#include "vmm/machine.h"
#include "vmm/pre_fault.h"

namespace dvm::vmm {

// The member that dvm-net is.
inline u32 net_member() { return hyperkernel::kMaxNodes - 1; }

class CoherentMemory {
 public:
  // Machine::memory() is there from its return on until the destructor; by then nothing may use it.
  // `machine` has software coherence and outlives it. The pager's threads are registered with
  // `peer`. Should the pager be unable to go on, the machine stops, for a reason said on stderr.
  static Result<std::unique_ptr<CoherentMemory>> join(Machine& machine, u32 member,
                                                      fabric::Peer& peer);
  ~CoherentMemory();
  CoherentMemory(const CoherentMemory&) = delete;
  CoherentMemory& operator=(const CoherentMemory&) = delete;

  // Who is told of pages that are mapped here (hyperkernel/pager.h), of those that the node has
  // already at once; or nullptr. Returns when the one before is told no more.
  void tell(PreFault* pre_fault);

  // Pages that who decides on locality wants looked at are not mapped here until somebody touches
  // them. A node's only.
  void take_wishes();

  // Brings home what this member has. Nothing here touches guest memory any more.
  Status leave() { return pager_->leave(); }

  // Of a death that the fabric told of, when the dead one has been fenced: what it had is at home.
  // Any number of members may do it, any number of times; each logs what it brought home.
  void recover(fabric::InstanceId dead);

 private:
  explicit CoherentMemory(Machine& machine) : machine_(machine) {}
  void mapped(hyperkernel::PageRun run);
  void note(const hyperkernel::ServedFault& fault, u32 member);
  std::optional<u32> member_of(fabric::InstanceId who) const;

  Machine& machine_;
  std::mutex mutex_;  // of pre_fault_
  PreFault* pre_fault_ = nullptr;
  std::unique_ptr<hyperkernel::Pager> pager_;  // last: its threads use the others
};

}  // namespace dvm::vmm
