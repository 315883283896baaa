// What a replica table knows, as runs of blocks: what a guest will want again, that first which it
// wanted first.
#pragma once

#include <vector>

#include "srt/replica_table.h"

namespace dvm::srt {

// A block that has been used: in which boot, and how many had been in that one before.
struct UsedBlock {
  BlockKey key;
  u32 boot = 0;
  u32 order = 0;
};
// Those of the table. What was read ahead and not asked for is none.
std::vector<UsedBlock> used_blocks(const ReplicaTable& table);

struct RunLimits {
  u64 blocks = 0;
  u64 runs = 0;
};
// Those of the last boot first, in the order of their first use; but neighbours that were used soon
// after each other stand in the order of the disk, so that they can be read together.
std::vector<BlockRun> runs_of(std::vector<UsedBlock> used, const RunLimits& limits);

}  // namespace dvm::srt
