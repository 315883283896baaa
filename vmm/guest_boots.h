// The RAM of the guest's boots, as the replica table's users see it.
#pragma once

#include "srt/disk_replicas.h"
#include "vmm/machine.h"

namespace dvm::vmm {

class MachineBoots final : public srt::GuestBoots {
 public:
  explicit MachineBoots(Machine& machine) : machine_(machine) {}
  u32 boot() const override { return machine_.state().control.boots.load(); }
  const hyperkernel::GuestMemory* ram(u16 boot) const override { return machine_.ram_of(boot); }
  void release(u16 boot, u64 gpa) const override { machine_.release_before(boot, gpa); }

 private:
  Machine& machine_;
};

}  // namespace dvm::vmm
