// One word for each page frame and each small object of the pool: what it is, and whose. It is the
// truth about the block; lists and bitmaps elsewhere are hints. The zeroed word is a free block.
#pragma once

#include <atomic>

#include "fabric/instance.h"

namespace dvm::fabric {

enum class BlockUse : u32 {
  free = 0,
  cached = 1,    // in a living instance's cache, on the way to an allocation or to `free`
  held = 2,      // allocated, and not yet reachable from the pool: it goes with its owner
  used = 3,      // reachable from the pool through a published word; owned by nobody
  retiring = 4,  // being taken out of its word by its owner, who has logged it
};

// {generation 32, id 8, use 3, version 21}. `version` moves on at each allocation, so that a thread
// that was stopped in the middle cannot take a block for the one it knew (within 2^21 lives).
struct BlockState {
  BlockUse use = BlockUse::free;
  InstanceId owner;
  u32 version = 0;

  static constexpr u32 kVersionMask = (1u << 21) - 1;

  constexpr u64 packed() const {
    return (static_cast<u64>(owner.generation) << 32) | (static_cast<u64>(owner.id) << 24) |
           (static_cast<u64>(use) << 21) | (version & kVersionMask);
  }
  static constexpr BlockState unpack(u64 word) {
    return {static_cast<BlockUse>((word >> 21) & 7),
            {static_cast<u32>(word >> 24) & 0xff, static_cast<u32>(word >> 32)},
            static_cast<u32>(word) & kVersionMask};
  }
  // The same block in another state; `who` is nobody for free and used.
  constexpr BlockState becoming(BlockUse next, InstanceId who = {}) const {
    return {next, who, version};
  }
  // While it is being taken out, the version gives way to the lane that does it; the log keeps it.
  static constexpr BlockState retiring_by(InstanceId who, u32 lane) {
    return {BlockUse::retiring, who, lane};
  }
  constexpr BlockState next_life(InstanceId who) const {
    return {BlockUse::held, who, (version + 1) & kVersionMask};
  }
};
static_assert(kMaxInstances <= 256);
static_assert(BlockState::unpack(0).use == BlockUse::free && BlockState{}.packed() == 0);

using BlockWord = std::atomic<u64>;

}  // namespace dvm::fabric
