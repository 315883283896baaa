// After a reset: of the RAM of the boot before, what the replica table knows blocks in stays, as
// far as its budget goes; all else goes back to the pool's file, with all of the boot before that.
//
// In a thread of its own, while the guest boots. By one node; where it dies in it, another begins
// again. What was not given back yet when the next reset comes is given back then.
#pragma once

#include <thread>

#include "vmm/machine.h"

namespace dvm::vmm {

class ReplicaSweep {
 public:
  explicit ReplicaSweep(Machine& machine) : machine_(machine) {}
  ~ReplicaSweep();
  ReplicaSweep(const ReplicaSweep&) = delete;
  ReplicaSweep& operator=(const ReplicaSweep&) = delete;

  // Begins, if it is to be done and nobody does it. Cheap if not. Threads: one.
  void look();

 private:
  void sweep(u32 boot);

  Machine& machine_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

// Which pages of RAM of boot `boot` hold blocks, page by page of RAM's layout: at most `budget`,
// those first that were used first in their boot. Entries that are left out are dropped.
std::vector<bool> pages_with_blocks(srt::ReplicaTable& table, u64 ram_bytes, u32 boot, u64 budget);

}  // namespace dvm::vmm
