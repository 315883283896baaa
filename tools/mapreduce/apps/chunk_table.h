// Where each content first occurs: a hash table in the pool that all workers write at once.
//
// An entry is two words: the hash, set once, and the smallest position told so far. Both steps
// change nothing when repeated, so a task that is done again may tell everything again. Death
// between the two leaves a hash without a position, which the task's next run fills in.
#pragma once

#include <atomic>
#include <optional>
#include <span>

#include "fabric/types.h"

namespace dvm::mapreduce {

class ChunkTable {
 public:
  // Bytes for a table of at most `chunks` hashes; a power of two.
  static u64 bytes_for(u64 chunks);
  // `memory`: of bytes_for's size, zero at first.
  explicit ChunkTable(std::span<std::byte> memory);

  // Tells of content with that hash (not 0) at `position` of the input. Precondition: there is
  // room.
  void tell(u64 hash, u64 position);
  // The first position told for the hash; none: nobody told of it.
  std::optional<u64> first(u64 hash) const;

 private:
  struct Entry {
    std::atomic<u64> hash;   // 0: free
    std::atomic<u64> first;  // position + 1; 0: none yet
  };
  std::span<Entry> entries_;
};

}  // namespace dvm::mapreduce
