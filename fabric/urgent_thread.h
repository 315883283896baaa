// A thread whose work others wait for, and which is short.
#pragma once

namespace dvm::fabric {

// From here on the calling thread goes before all others that are ready: by SCHED_RR where that is
// allowed, else by its nice value, else not at all; nothing may depend on it but time. What it does
// without sleeping has to be bounded.
void make_urgent();

// While it exists, an urgent thread is one like the others: for work that takes long, and that
// nobody waits for. Not while it holds what urgent ones wait for.
class UrgentNoMore {
 public:
  UrgentNoMore();
  ~UrgentNoMore();
  UrgentNoMore(const UrgentNoMore&) = delete;
  UrgentNoMore& operator=(const UrgentNoMore&) = delete;
};

}  // namespace dvm::fabric
