// WDAT: how an OS works the watchdog (vmm/devices/watchdog.h). "Hardware Watchdog Timers Design
// Specification", Microsoft, 2006.
#pragma once

#include <vector>

#include "fabric/types.h"

namespace dvm::vmm {

std::vector<u8> make_wdat();

}  // namespace dvm::vmm
