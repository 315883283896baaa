// What KVM's own ioctls take for a vCPU's whole state, with nothing around them.
#pragma once

#include "vmm/kvm/kvm.h"
#include "vmm/machine_state.h"

namespace dvm::tools {

struct BareTimes {
  double set_us = 0;
  double get_us = 0;
};

// A KVM vCPU in a VM of its own, which never runs. Threads: one.
class BareState {
 public:
  // With the guest's CPU model, on which it depends what state there is.
  static Result<BareState> make(const vmm::CpuBaseline& cpu);
  // Gives it that state, and reads it back.
  Result<BareTimes> measure(vmm::VcpuState& state);

 private:
  BareState(vmm::Vm vm, vmm::Vcpu vcpu) : vm_(std::move(vm)), vcpu_(std::move(vcpu)) {}
  Status set(vmm::VcpuState& state);
  Status get(vmm::VcpuState& state);
  Status call(unsigned long request, const char* name, void* argument);

  vmm::Vm vm_;
  vmm::Vcpu vcpu_;
};

}  // namespace dvm::tools
