// KVM's second-level mapping of pages that the pager has just mapped in the view.
//
// A page that comes to a node is mapped for the process; the guest's first touch of it still costs
// an exit, 4 KiB at a time. KVM_PRE_FAULT_MEMORY (Linux 6.11) maps a run of them without. It is an
// ioctl of a vCPU: one that never runs, because those of the guest are in KVM_RUN.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "hyperkernel/node_memory.h"
#include "vmm/boot/e820.h"
#include "vmm/kvm/kvm.h"

namespace dvm::vmm {

class PreFault {
 public:
  // Null: this KVM cannot. `spare_vcpu` is an id that no vCPU of the guest has. The VM outlives it.
  static Result<std::unique_ptr<PreFault>> start(Vm& vm, u32 spare_vcpu, u64 ram_bytes);
  ~PreFault();
  PreFault(const PreFault&) = delete;
  PreFault& operator=(const PreFault&) = delete;

  // These pages are mapped in the view. Advice: forgotten when too much waits. Threads: any; never
  // waits for a page, so the pager's threads may call it.
  void mapped(hyperkernel::PageRun run);

 private:
  PreFault(Vcpu vcpu, std::vector<RamPart> parts)
      : vcpu_(std::move(vcpu)), parts_(std::move(parts)) {}
  void work();
  bool map(hyperkernel::PageRun run);

  Vcpu vcpu_;
  const std::vector<RamPart> parts_;
  std::mutex mutex_;  // for all below
  std::condition_variable more_;
  std::vector<hyperkernel::PageRun> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace dvm::vmm
