// The memory of the other nodes, as far as it is held here.
#pragma once

#include <array>
#include <memory>
#include <mutex>

#include "hyperkernel/coherence_record.h"
#include "hyperkernel/node_memory.h"

namespace dvm::hyperkernel {

// Threads: any.
class Peers {
 public:
  Peers(const Coherence& coherence, const fabric::InstanceTable& instances, u32 self)
      : coherence_(&coherence), instances_(&instances), self_(self) {}

  // Nothing: it cannot be reached, and its content is lost.
  std::shared_ptr<const LocalMemory> memory(u32 node);
  // Takes hold of every node's memory that has come, and says so in its record. True if any had.
  bool hold_all();
  // Whether every living node holds that of `self`.
  bool all_hold_ours() const;
  void forget(u32 node);
  // Certain to run no more.
  bool stopped(u32 node) const;

 private:
  struct Held {
    std::mutex lock;
    u64 instance = 0;
    std::shared_ptr<const LocalMemory> memory;
  };
  const Coherence* coherence_;
  const fabric::InstanceTable* instances_;
  const u32 self_;
  std::array<Held, kMaxNodes> held_;
};

}  // namespace dvm::hyperkernel
