// The time base a new guest starts with, the same on every node.
#pragma once

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct GuestClock {
  u64 tsc_khz;     // as KVM of this host counts
  u64 tsc_offset;  // makes the guest's TSC start near 0
};

// Asks KVM, with a throw-away VM.
Result<GuestClock> measure_guest_clock();

}  // namespace dvm::tools
