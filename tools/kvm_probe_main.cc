// "kvm: usable" and exit code 0, or "kvm: not usable: WHY" and 1. Built by tools/lab, by itself.
#include <cstdio>

#include "vmm/kvm_probe.h"

int main() {
  const std::string reason = dvm::vmm::probe_kvm();
  if (reason.empty()) {
    std::puts("kvm: usable");
    return 0;
  }
  std::printf("kvm: not usable: %s\n", reason.c_str());
  return 1;
}
