// KVM's VMs, one for each boot of the guest: the next one is made while the guest runs, with its
// vCPUs, and the last one is taken apart when the next boot runs already. Both take tens of
// milliseconds where KVM itself is emulated, and a guest that resets waits for neither.
//
// Threads: one, the node's main one; the work is done by a thread of the reserve's.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "vmm/kvm/kvm.h"

namespace dvm::vmm {

class VmReserve {
 public:
  // `prepare`: what else is done with a VM that is made ahead, in the reserve's thread.
  explicit VmReserve(std::function<Status(Vm&)> prepare) : prepare_(std::move(prepare)) {}
  ~VmReserve();
  VmReserve(const VmReserve&) = delete;
  VmReserve& operator=(const VmReserve&) = delete;

  // One that has nothing of any boot: made before, or now.
  Result<std::unique_ptr<Vm>> take();
  // The guest runs: there is time to make the next one, and to take apart those that were retired.
  void refill();
  // Nobody uses it or its vCPUs any more.
  void retire(std::unique_ptr<Vm> vm);

 private:
  void work();

  const std::function<Status(Vm&)> prepare_;
  std::mutex mutex_;  // for all below but the thread
  std::condition_variable changed_;
  std::unique_ptr<Vm> spare_;
  std::unique_ptr<Vm> retired_;
  bool wanted_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace dvm::vmm
