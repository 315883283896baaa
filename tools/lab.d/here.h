// A command that runs on this machine itself, because its KVM is usable.
#pragma once

#include "lab_host.h"

namespace dvm::lab {

// Runs options.job.command until it ends, the time limit or a signal of `signals` (a signalfd).
// Never leaves any of its process group behind.
int run_here(const Options& options, int signals);

}  // namespace dvm::lab
