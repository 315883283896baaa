// What a block holds, as 128 bits: two blocks that have the same hold the same.
//
// That is a matter of probability (2^-128 for each pair of blocks that were not made to collide)
// and the hash is no secret: who makes two blocks collide is given the wrong one of its own blocks.
#pragma once

#include "fabric/types.h"

namespace dvm::srt {

// The replica table's blocks: what page caches read in, whatever the disk's own block size is.
inline constexpr u64 kBlockBytes = 4096;

struct BlockSum {
  u64 low = 0;
  u64 high = 0;
  friend constexpr bool operator==(const BlockSum&, const BlockSum&) = default;
};

// Of kBlockBytes bytes: XXH3, 128 bits.
BlockSum block_sum(const std::byte* block);

}  // namespace dvm::srt
