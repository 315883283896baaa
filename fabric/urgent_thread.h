// A thread whose work others wait for, and which is short.
#pragma once

namespace dvm::fabric {

// From here on the calling thread goes before all others that are ready: by SCHED_RR where that is
// allowed, else by its nice value, else not at all; nothing may depend on it but time. What it does
// without sleeping has to be bounded.
void make_urgent();

}  // namespace dvm::fabric
