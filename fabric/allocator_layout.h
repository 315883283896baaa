// The allocator's region of the pool: a header, the lanes, and for both kinds of block (page frames
// of the frames region, small objects in this region) an array of chunks with their state words.
// The zeroed region with its header is an allocator of which everything is free.
#pragma once

#include <array>
#include <atomic>

#include "fabric/block_state.h"
#include "fabric/pool_lock.h"

namespace dvm::fabric {

inline constexpr u32 kAllocatorVersion = 1;
inline constexpr u32 kLanes = 256;
inline constexpr u32 kBlocksPerChunk = 64;
inline constexpr u64 kMinObjectBytes = 64;
inline constexpr u32 kObjectClasses = 7;  // 64, 128, … 4096 bytes
static_assert(kMaxInstances <= 64, "a chunk's `visitors` has one bit for each stable id");

// 64 frames, or one 4 KiB slab of objects of one size.
struct alignas(64) BlockChunk {
  std::atomic<u64> visitors;       // stable ids that may own blocks here: set before the first
  std::atomic<u64> probably_used;  // a hint for the search: bit b set, block b was not free
  std::atomic<u32> object_class;   // objects: 1 + class, once it has one (it keeps it); frames: 0
  std::array<u32, 11> reserved;
  std::array<BlockWord, kBlocksPerChunk> blocks;
};
static_assert(sizeof(BlockChunk) == 64 + 8 * kBlocksPerChunk);

// A retirement is logged in two steps: `claim` until the block is its owner's alone and is seen in
// its word, `retire` from then on.
enum class LogOp : u32 { none = 0, publish = 1, claim = 2, retire = 3 };

// A lane's redo log: one operation in progress. The fields are written first and `op` last; then
// the operation is applied, then `op` goes back to none. A record whose op is none is not looked
// at, so death while writing it leaves nothing; after `op`, recovery completes or undoes it.
struct LogRecord {
  std::atomic<u32> op;       // LogOp
  std::atomic<u32> version;  // of the block
  std::atomic<u64> block;    // offset of the block in the pool, bytes
  std::atomic<u64> state;    // the block's state word while the operation is under way: no other
                             // operation gives it the same
  std::atomic<u64> target;  // offset in the pool of the word that is to name the block, or names it
  std::atomic<u64> mask;    // the bits of that word that name the block
  std::atomic<u64> expected;  // before the exchange
  std::atomic<u64> desired;   // after it
  u64 reserved_tail;
};
static_assert(sizeof(LogRecord) == 64);

// One for each thread that allocates. `owner` is a packed InstanceId, 0: free; taken by CAS.
struct alignas(64) AllocatorLane {
  std::atomic<u64> owner;
  std::array<u64, 7> reserved;
  LogRecord log;
};
static_assert(sizeof(AllocatorLane) == 128);

struct AllocatorHeader {
  std::array<char, 8> magic;
  u64 frames_offset;  // of the frames region in the pool, bytes
  u64 frame_count;
  u64 frame_chunks_offset;  // in this region, bytes
  u64 objects_offset;       // of the first slab in this region, bytes; page aligned
  u64 slab_count;
  u64 slab_chunks_offset;  // in this region, bytes
  u32 reserved;
  u32 checksum;                                           // CRC-32C of all bytes before it
  PoolLock recovering;                                    // one recovery, or one attach, at a time
  std::array<std::atomic<u32>, kMaxInstances> recovered;  // generations up to it own nothing
  alignas(64) std::array<AllocatorLane, kLanes> lanes;
};

}  // namespace dvm::fabric
