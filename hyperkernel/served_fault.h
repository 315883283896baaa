// A fault that a pager has served, and what it tells of where the page was.
#pragma once

#include "hyperkernel/locality/observation.h"
#include "hyperkernel/page_directory.h"

namespace dvm::hyperkernel {

struct ServedFault {
  u64 page = 0;
  u64 begun_ns = 0;  // CLOCK_MONOTONIC
  u64 took_ns = 0;
  DirEntry before;  // as of the fault
  u32 thread = 0;   // that waited for it: a vCPU's, or a worker of KVM's in its stead
  bool writes = false;
};

// As node `self` sees it; the vCPU is not known here. A fault for what the node had already is one
// that taking away the mapping brought about.
locality::Observation observation_of(const ServedFault& fault, u32 self);

}  // namespace dvm::hyperkernel
