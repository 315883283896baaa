#include "vmm/pre_fault.h"

#include <pthread.h>

#include <algorithm>
#include <csignal>

#include "fabric/urgent_thread.h"

namespace dvm::vmm {
namespace {

constexpr std::size_t kMaxWaiting = 1024;

}  // namespace

Result<std::unique_ptr<PreFault>> PreFault::start(Vm& vm, u32 spare_vcpu, u64 ram_bytes) {
  std::unique_ptr<PreFault> none;
  if (!vm.can_pre_fault()) return none;
  DVM_ASSIGN(Vcpu vcpu, vm.create_vcpu(spare_vcpu));
  std::unique_ptr<PreFault> p(new PreFault(std::move(vcpu), ram_layout(ram_bytes)));
  // Kicks and timers are for the guest's vCPUs.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  p->thread_ = std::thread([self = p.get()] { self->work(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_setname_np(p->thread_.native_handle(), "pre-fault");
  return p;
}

PreFault::~PreFault() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  more_.notify_one();
  thread_.join();
}

void PreFault::mapped(hyperkernel::PageRun run) {
  {
    const std::lock_guard guard(mutex_);
    if (waiting_.size() >= kMaxWaiting) return;
    waiting_.push_back(run);
  }
  more_.notify_one();
}

void PreFault::work() {
  fabric::make_urgent();  // else the guest takes the faults first that this is to save
  std::vector<hyperkernel::PageRun> runs;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      runs.swap(waiting_);
    }
    for (const auto& run : runs) {
      if (!map(run)) return;  // this KVM cannot after all
    }
    runs.clear();
  }
}

bool PreFault::map(hyperkernel::PageRun run) {
  for (const RamPart& part : parts_) {
    const u64 begin = std::max(run.first * kPageBytes, part.offset);
    const u64 end = std::min((run.first + run.count) * kPageBytes, part.offset + part.bytes);
    if (begin >= end) continue;
    if (!vcpu_.pre_fault(part.gpa + (begin - part.offset), end - begin)) return false;
  }
  return true;
}

}  // namespace dvm::vmm
