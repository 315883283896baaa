#include "fabric/block_cache.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace dvm::fabric {
namespace {

constexpr u32 kFrames = 0;  // the shelf of page frames; 1 + class: that of an object class

u32 blocks_of(u32 shelf) {
  return shelf == kFrames ? kBlocksPerChunk : kBlocksPerChunk >> (shelf - 1);
}
u64 all_of(u32 shelf) { return ~0ull >> (kBlocksPerChunk - blocks_of(shelf)); }

}  // namespace

Result<BlockCache> BlockCache::attach(FrameAllocator& allocator, InstanceId self) {
  DVM_ASSIGN(const u32 lane, allocator.take_lane(self));
  return BlockCache(allocator, self, lane);
}

// Lanes start their search apart, so that they seldom meet in a chunk.
BlockCache::BlockCache(FrameAllocator& allocator, InstanceId self, u32 lane)
    : allocator_(&allocator), self_(self), lane_(lane), log_(&allocator.header().lanes[lane].log) {
  for (u32 i = 0; i < kShelves; ++i) {
    const u64 chunks = (i == kFrames ? allocator.frame_chunks() : allocator.slab_chunks()).size();
    shelves_[i].search = chunks == 0 ? 0 : lane * 61u % chunks;
    shelves_[i].blocks.reserve(3 * kBatch);
  }
}

BlockCache::BlockCache(BlockCache&& other) noexcept
    : allocator_(other.allocator_),
      self_(other.self_),
      lane_(other.lane_),
      log_(std::exchange(other.log_, nullptr)),
      shelves_(std::move(other.shelves_)) {}

BlockCache::~BlockCache() {
  if (log_ == nullptr) return;
  flush();
  allocator_->header().lanes[lane_].owner.store(0, std::memory_order_release);
}

void BlockCache::flush() {
  for (Shelf& shelf : shelves_) give_back(shelf, 0);
}

u64 BlockCache::allocate_frame() { return take(kFrames); }

u64 BlockCache::allocate_object(u64 bytes) {
  if (bytes == 0 || bytes > kPageBytes) return 0;
  const u64 units = (bytes + kMinObjectBytes - 1) / kMinObjectBytes;
  return take(1 + static_cast<u32>(std::bit_width(units - 1)));
}

u64 BlockCache::take(u32 index) {
  Shelf& shelf = shelves_[index];
  if (shelf.blocks.empty() && !refill(index, true) && !refill(index, false)) return 0;
  const Entry entry = shelf.blocks.back();
  shelf.blocks.pop_back();
  const BlockState state = BlockState::unpack(entry.word->load(std::memory_order_relaxed));
  entry.word->store(state.next_life(self_).packed(), std::memory_order_release);
  return entry.offset;
}

bool BlockCache::serves(BlockChunk& chunk, u32 shelf) const {
  if (shelf == kFrames) return true;
  u32 seen = chunk.object_class.load(std::memory_order_acquire);
  if (seen == 0 && chunk.object_class.compare_exchange_strong(seen, shelf)) return true;
  return seen == shelf;
}

bool BlockCache::refill(u32 index, bool trust_hints) {
  Shelf& shelf = shelves_[index];
  const auto chunks = index == kFrames ? allocator_->frame_chunks() : allocator_->slab_chunks();
  for (u64 n = 0; n < chunks.size() && shelf.blocks.empty(); ++n) {
    const u64 at = (shelf.search + n) % chunks.size();
    const u64 used = chunks[at].probably_used.load(std::memory_order_relaxed);
    if (trust_hints && (used & all_of(index)) == all_of(index)) continue;
    if (!serves(chunks[at], index)) continue;
    take_from(chunks[at], at, index, trust_hints);
    if (!shelf.blocks.empty()) shelf.search = at;
  }
  return !shelf.blocks.empty();
}

void BlockCache::visit(BlockChunk& chunk) const {
  const u64 bit = 1ull << self_.id;
  if ((chunk.visitors.load(std::memory_order_relaxed) & bit) == 0) chunk.visitors.fetch_or(bit);
}

void BlockCache::take_from(BlockChunk& chunk, u64 chunk_index, u32 index, bool trust_hints) {
  visit(chunk);
  Shelf& shelf = shelves_[index];
  u64 looked_at = 0;
  const u64 used = trust_hints ? chunk.probably_used.load(std::memory_order_relaxed) : 0;
  for (u32 i = 0; i < blocks_of(index) && shelf.blocks.size() < kBatch; ++i) {
    if ((used >> i & 1) != 0) continue;
    looked_at |= 1ull << i;
    u64 seen = chunk.blocks[i].load(std::memory_order_relaxed);
    const BlockState state = BlockState::unpack(seen);
    if (state.use != BlockUse::free) continue;
    const u64 cached = state.becoming(BlockUse::cached, self_).packed();
    if (!chunk.blocks[i].compare_exchange_strong(seen, cached, std::memory_order_acq_rel)) continue;
    const u64 offset = index == kFrames ? allocator_->frame_offset(chunk_index, i)
                                        : allocator_->object_offset(chunk_index, i);
    shelf.blocks.push_back({&chunk.blocks[i], offset});
  }
  chunk.probably_used.fetch_or(looked_at);
}

void BlockCache::keep(const BlockPlace& place, u64 offset, BlockState state) {
  visit(*place.chunk);
  place.word().store(state.becoming(BlockUse::cached, self_).packed(), std::memory_order_release);
  // A chunk's class is only a word in the pool: what it says of frames is not asked.
  const bool is_frame = offset >= allocator_->frames_offset();
  const u32 object_class = place.chunk->object_class.load(std::memory_order_relaxed);
  Shelf& shelf = shelves_[is_frame ? kFrames : std::min(object_class, kObjectClasses)];
  shelf.blocks.push_back({&place.word(), offset});
  if (shelf.blocks.size() >= 2 * kBatch) give_back(shelf, kBatch);
}

void BlockCache::give_back(Shelf& shelf, std::size_t leave) {
  while (shelf.blocks.size() > leave) {
    const Entry entry = shelf.blocks.back();
    shelf.blocks.pop_back();
    const auto place = allocator_->place_of(entry.offset);
    const BlockState state = BlockState::unpack(entry.word->load(std::memory_order_relaxed));
    entry.word->store(state.becoming(BlockUse::free).packed(), std::memory_order_release);
    if (place.ok()) place.value().chunk->probably_used.fetch_and(~(1ull << place.value().index));
  }
}

bool BlockCache::free(u64 block) {
  const auto place = allocator_->place_of(block);
  if (!place.ok()) return false;
  const BlockState state = BlockState::unpack(place.value().word().load(std::memory_order_acquire));
  if (state.use != BlockUse::held || state.owner != self_) return false;
  keep(place.value(), block, state);
  return true;
}

}  // namespace dvm::fabric
