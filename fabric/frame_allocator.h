// The pool's allocator: page frames and small objects, given out and taken back so that nothing is
// leaked and nothing is given twice, whoever dies at whatever instruction.
//
// A block's state word is the truth (block_state.h). A block reachable from the pool (`used`) gets
// there and leaves by BlockCache::publish and ::retire, which log what they do; everything else an
// instance owns is in a state word that names it, and is free again when `recover` has run for it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fabric/allocator_layout.h"
#include "fabric/pool.h"

namespace dvm::fabric {

// Bytes of a region for `frames` page frames and at least `object_bytes` of objects.
u64 allocator_region_bytes(u64 frames, u64 object_bytes);

struct AllocatorCount {
  u64 free = 0, cached = 0, held = 0, used = 0, retiring = 0;
};
struct AllocatorReport {
  AllocatorCount frames, objects;  // objects: of slabs that have a class
  u64 slabs_without_class = 0;
  std::vector<std::string>
      violations;  // what is wrong, by name and pool offset; empty: all is well
};

// Where a block's state is.
struct BlockPlace {
  BlockChunk* chunk = nullptr;
  u32 index = 0;
  BlockWord& word() const { return chunk->blocks[index]; }
};

// One process's view of the allocator. Threads: any. The pool must outlive it.
class FrameAllocator {
 public:
  // Once, by the maker of the pool, before anyone attaches: frames [0, used_frames) begin as used
  // (for what is laid out by hand), all else free. Error: the region is too small for the frames.
  // Death in the middle leaves a pool whose allocator is refused.
  static Status format(const Pool& pool, u64 used_frames);
  // Error, by name and offset: no such region, another version, a header that is not whole or names
  // places outside the region.
  static Result<FrameAllocator> attach(const Pool& pool, const InstanceTable& instances);

  // Gives back all that generations of `dead.id` up to dead.generation owned: completes or undoes
  // its logged operations, frees what it had cached or held. Precondition: they are stopped and
  // retired. Idempotent; may itself be killed anywhere and run again by anyone; callers wait for
  // each other. Error: a log record that names a place outside the pool (skipped, the rest done).
  Status recover(InstanceId dead, InstanceId self);
  // Whether `recover` has run to its end for this instance.
  bool is_recovered(InstanceId dead) const;

  // Looks at every state word and every lane. Exact when nobody works on the allocator; beside
  // living work, counts are approximate and only `violations` that last mean something.
  // `instances` decides who lives: a block or a log of a dead instance that was said to be
  // recovered is a violation.
  AllocatorReport check() const;

  u64 frame_count() const { return header_->frame_count; }
  u64 frames_offset() const { return header_->frames_offset; }

  // For BlockCache, recovery and tests.
  AllocatorHeader& header() const { return *header_; }
  const InstanceTable& instances() const { return *instances_; }
  std::span<BlockChunk> frame_chunks() const { return frame_chunks_; }
  std::span<BlockChunk> slab_chunks() const { return slab_chunks_; }
  // The block at a pool offset. Error: no block begins there.
  Result<BlockPlace> place_of(u64 offset) const;
  u64 frame_offset(u64 chunk, u32 index) const;
  u64 object_offset(u64 slab, u32 index) const;
  // A word of the metadata by its pool offset. Error: outside, or not a multiple of 8.
  Result<std::atomic<u64>*> target_word(u64 offset) const;
  // Bytes of an object, by its pool offset, for its owner to fill. Precondition: it was allocated.
  std::byte* object(u64 offset) const { return metadata_.data() + offset; }

 private:
  friend class BlockCache;
  FrameAllocator() = default;
  Result<u32> take_lane(InstanceId self);
  Status recover_locked(InstanceId dead);
  Status replay(AllocatorLane& lane) const;
  void free_blocks_of(u32 id, u32 generation) const;

  std::string name_;
  std::span<std::byte> metadata_;  // from the pool's first byte
  u64 region_offset_ = 0;          // of the allocator's region in the pool
  AllocatorHeader* header_ = nullptr;
  std::span<BlockChunk> frame_chunks_, slab_chunks_;
  const InstanceTable* instances_ = nullptr;
};

}  // namespace dvm::fabric
