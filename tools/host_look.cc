#include "tools/host_look.h"

#include "vmm/kvm/kvm.h"
#include "vmm/kvm_probe.h"

namespace dvm::tools {

Result<HostLook> look_at_host() {
  if (const std::string why = vmm::probe_kvm(); !why.empty())
    return error("/dev/kvm: not usable: {} (tools/lab runs dvm where KVM is emulated)", why);
  DVM_ASSIGN(auto vm, vmm::Vm::create());
  DVM_ASSIGN(const auto vcpu, vm.create_vcpu(0));
  DVM_ASSIGN(const u64 khz, vcpu.tsc_khz());
  if (khz == 0) return error("KVM does not know the frequency of this host's TSC");
  return HostLook{khz};
}

}  // namespace dvm::tools
