// Is the KVM of this machine one that runs ordinary guests?
#pragma once

#include <string>

namespace dvm::vmm {

// Empty when it is; otherwise why not, in one line. Some machines show a /dev/kvm that opens,
// creates VMs and yet cannot run a stock guest, so this really runs a few instructions. Never
// hangs: takes a few milliseconds, and at most a few seconds with a KVM that does not answer.
std::string probe_kvm(const char* path = "/dev/kvm");

}  // namespace dvm::vmm
