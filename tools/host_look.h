// What is found out about this host before a guest can be made for it.
#pragma once

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct HostLook {
  u64 tsc_khz = 0;  // as KVM of this host counts
};

// With throw-away VMs, one of which shows that KVM runs guests. Error: it cannot, and why.
Result<HostLook> look_at_host();

}  // namespace dvm::tools
