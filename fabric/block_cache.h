// A thread's way to the pool's allocator: it allocates from and frees to a cache of its own,
// fetched and given back in batches. The cache is private memory; that its blocks are in it stands
// in their state words, which is what recovery reads.
#pragma once

#include <array>
#include <vector>

#include "fabric/frame_allocator.h"

namespace dvm::fabric {

// What a word of the pool is to hold: while a block is used, the bits `mask` of its word name it
// and nothing else does, so that "does this word name the block" has one answer at any time. Other
// bits may change by compare-and-swap at any time; the `mask` bits only by publish and retire.
struct Publication {
  u64 target = 0;  // pool offset of the word, bytes, a multiple of 8, in the metadata
  u64 expected = 0;
  u64 desired = 0;
  u64 mask = ~0ull;
};

// Threads: one at a time. Not copied by fork.
class BlockCache {
 public:
  // Takes a lane for `self`; recovers earlier generations of its id first, if nobody has yet.
  // Error: all lanes are taken.
  static Result<BlockCache> attach(FrameAllocator& allocator, InstanceId self);
  ~BlockCache();  // gives the cache and the lane back; held blocks stay held
  BlockCache(BlockCache&& other) noexcept;
  BlockCache& operator=(BlockCache&&) = delete;
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // A block, by its offset in the pool; 0: none is left. It is held: when this instance dies before
  // it is published, it is free again. Its contents are what its last owner left.
  u64 allocate_frame();
  u64 allocate_object(u64 bytes);  // 1 to 4096; 0 for other sizes
  // Gives back a block that this instance holds. False: it does not hold that.
  bool free(u64 block);

  // Makes a held block reachable: exchanges the target's `expected` for `desired`, whose `mask`
  // bits name the block. False: the word was not `expected`; the block is still held. Death
  // before the exchange frees the block, after it leaves it used.
  Result<bool> publish(u64 block, const Publication& to);
  // Takes a used block out of its word, whose `expected` names it, and frees it. False: the word
  // was not `expected`, or somebody else retires it; nothing has changed. Death before the exchange
  // leaves it used, after it frees it.
  Result<bool> retire(u64 block, const Publication& from);
  // Gives all cached blocks back.
  void flush();

 private:
  struct Entry {
    BlockWord* word;
    u64 offset;
  };
  struct Shelf {  // one for frames, one for each object class
    std::vector<Entry> blocks;
    u64 search = 0;  // chunk to look at next
    BlockChunk* visited = nullptr;
  };
  static constexpr u32 kBatch = 32;
  static constexpr u32 kShelves = 1 + kObjectClasses;

  BlockCache(FrameAllocator& allocator, InstanceId self, u32 lane);
  u64 take(u32 shelf);
  bool refill(u32 shelf, bool trust_hints);
  void take_from(BlockChunk& chunk, u64 chunk_index, u32 shelf, bool trust_hints);
  bool serves(BlockChunk& chunk, u32 shelf) const;
  void visit(BlockChunk& chunk) const;
  void keep(const BlockPlace& place, u64 offset, BlockState state);
  void give_back(Shelf& shelf, std::size_t leave);
  void write_log(LogOp op, u64 block, u64 state, u32 version, const Publication& p);
  void set_log(LogOp op) { log_->op.store(static_cast<u32>(op), std::memory_order_release); }
  // Completes a publish of `block` that is under way, if `word` names the block.
  static void settle(BlockWord& state, const std::atomic<u64>& word, const Publication& p);

  FrameAllocator* allocator_;
  InstanceId self_;
  u32 lane_;
  LogRecord* log_;  // null: moved from
  std::array<Shelf, kShelves> shelves_;
};

}  // namespace dvm::fabric
