#include "tools/guest_clock.h"

#include <x86intrin.h>

#include "vmm/kvm/kvm.h"

namespace dvm::tools {

Result<GuestClock> measure_guest_clock() {
  DVM_ASSIGN(auto vm, vmm::Vm::create());
  DVM_ASSIGN(const auto vcpu, vm.create_vcpu(0));
  DVM_ASSIGN(const u64 khz, vcpu.tsc_khz());
  if (khz == 0) return error("KVM does not know the frequency of this host's TSC");
  return GuestClock{khz, u64{0} - __rdtsc()};
}

}  // namespace dvm::tools
