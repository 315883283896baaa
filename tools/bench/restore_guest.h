// Guests that go on from a file until they answer a line that is typed: `dvm-run --resume` beside
// QEMU's `-loadvm`, each from the start of its process; and a ghost of ours beside a QEMU that
// waits at its monitor, each from being told.
#pragma once

#include <functional>
#include <string>

#include "fabric/result.h"
#include "fabric/types.h"
#include "tools/bench/bench_stats.h"

namespace dvm::tools {

struct RestoreGuests {
  u64 memory = 0;  // of each guest; a quarter of it is in use
  u32 rounds = 1;
  std::string kernel, initrd;
  double limit_s = 300;  // for each guest's boot, and for each first answer
};

struct RestoreTimes {
  Series dvm_s, qemu_s, ghost_s, monitor_s;
};

// Boots and saves both once, then lets them go on in turns. `progress` is told a line at a time.
Result<RestoreTimes> measure_restore_beside_qemu(
    const RestoreGuests& guests, const std::function<void(const std::string&)>& progress);

}  // namespace dvm::tools
