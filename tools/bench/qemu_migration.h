// QEMU's live migration on this host, for the time that the guest stands still.
#pragma once

#include "tools/bench/migrate_options.h"

namespace dvm::tools {

// Boots the guest in one QEMU, migrates it to another over a Unix socket while it computes, and
// ends both. As QEMU tells it, in milliseconds.
Result<double> qemu_downtime_ms(const MigrateOptions& options);

}  // namespace dvm::tools
