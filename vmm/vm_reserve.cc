#include "vmm/vm_reserve.h"

#include <pthread.h>

#include <csignal>

namespace dvm::vmm {

VmReserve::~VmReserve() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Result<std::unique_ptr<Vm>> VmReserve::take() {
  {
    const std::lock_guard guard(mutex_);
    wanted_ = false;
    if (spare_) return std::move(spare_);
  }
  DVM_ASSIGN(Vm vm, Vm::create());
  return std::make_unique<Vm>(std::move(vm));
}

void VmReserve::refill() {
  if (!thread_.joinable()) {
    // Kicks and timers are for the guest's vCPUs.
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { work(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::pthread_setname_np(thread_.native_handle(), "vm-reserve");
  }
  {
    const std::lock_guard guard(mutex_);
    wanted_ = true;
  }
  changed_.notify_one();
}

void VmReserve::retire(std::unique_ptr<Vm> vm) {
  std::unique_ptr<Vm> before;  // the guest resets faster than they are taken apart
  const std::lock_guard guard(mutex_);
  before = std::exchange(retired_, std::move(vm));
}

void VmReserve::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || (wanted_ && (!spare_ || retired_)); });
    if (stopping_) return;
    std::unique_ptr<Vm> old = std::move(retired_);
    const bool make = !spare_;
    lock.unlock();
    std::unique_ptr<Vm> made;
    if (make) {
      if (auto vm = Vm::create(); vm.ok() && prepare_(*vm).ok())
        made = std::make_unique<Vm>(vm.take());
    }
    old.reset();
    lock.lock();
    if (made) spare_ = std::move(made);
    if (make && !spare_) wanted_ = false;  // who needs one tries again, and is told why it fails
  }
}

}  // namespace dvm::vmm
