// A read of blocks that nobody has asked for yet, into frames of the replica table's own.
//
// It is a read like any other to the table: the counts of writes are taken before it begins, and
// what it brings is put only where they have not moved. So it can be late, lost or in vain, and
// never wrong. A process that dies in it leaves frames without an entry, which go to other blocks.
#pragma once

#include <vector>

#include "srt/replica_table.h"

namespace dvm::srt {

// Threads: one at a time.
class AheadRead {
 public:
  // Of the run, from its first block on, what there are frames for; at most `most` blocks. What the
  // table knows already is left out at both ends, and read again in between.
  static AheadRead begin(ReplicaTable& table, const BlockRun& run, u32 most);

  // How many of the run's blocks have been seen to: fewer than asked for: no frame was free.
  u32 seen_to() const { return seen_to_; }
  u64 offset() const { return run_.first * kBlockBytes; }
  u64 bytes() const { return run_.blocks * kBlockBytes; }  // 0: nothing has to be read
  // That is what the disk holds: bytes() of it, or none if it could not be read.
  void end(ReplicaTable& table, std::span<const std::byte> content);

 private:
  struct Part {
    BlockKey key;
    u64 writes;
    u64 frame;
  };
  bool put(ReplicaTable& table, const Part& part, std::span<const std::byte> content) const;

  BlockRun run_;
  u32 seen_to_ = 0;
  std::vector<Part> parts_;  // in the order of their blocks
};

}  // namespace dvm::srt
