// Notifications that KVM answers itself, by writing to an eventfd (KVM_IOEVENTFD): the vCPU does
// not leave KVM for them. For queues that a thread of this node serves and that were notified here
// before, by an exit like any other.
//
// KVM knows addresses only, and a driver may move its BAR. What is then written to the old place
// must reach whatever is there, so whoever moves a BAR waits until no node has an ioeventfd
// elsewhere (Machine::wait_for_ioeventfds); each node says in the pool where it has its own.
//
// Threads: the node's main one.
#pragma once

#include "vmm/kvm/kvm.h"
#include "vmm/machine.h"

namespace dvm::vmm {

class IoEventFds {
 public:
  // `machine` and `vm` outlive it; no vCPU of the VM runs when it is destroyed.
  IoEventFds(Machine& machine, Vm& vm, u32 node);
  ~IoEventFds();
  IoEventFds(const IoEventFds&) = delete;
  IoEventFds& operator=(const IoEventFds&) = delete;

  // Brings KVM in line with where the function's BAR is. `queues`, by their bits: those that are to
  // ring `bell`, always the same one. Without KVM's help exits go on as before.
  void follow(u32 function, u64 queues, const Fd& bell);

 private:
  struct Placed {
    u64 bar = 0;
    u64 queues = 0;
    const Fd* bell = nullptr;
  };
  std::atomic<u64>& place(u32 function);
  void remove(u32 function);

  Machine& machine_;
  Vm& vm_;
  const u32 node_;
  std::array<Placed, kMaxFunctions> placed_{};
};

}  // namespace dvm::vmm
