#include "fabric/frame_allocator.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "fabric/crc32c.h"

namespace dvm::fabric {
namespace {

constexpr std::array<char, 8> kMagic = {'D', 'V', 'M', 'A', 'L', 'L', 'O', 'C'};

u64 chunks_for(u64 frames) { return (frames + kBlocksPerChunk - 1) / kBlocksPerChunk; }
u64 frame_chunks_at() { return align_up(sizeof(AllocatorHeader), 64); }

u32 checksum_of(const AllocatorHeader& h) {
  return crc32c(
      std::span(reinterpret_cast<const std::byte*>(&h), offsetof(AllocatorHeader, checksum)));
}

bool lies_in(u64 offset, u64 count, u64 each, u64 bytes) {
  return offset <= bytes && count <= (bytes - offset) / each;
}

std::span<BlockChunk> chunks_at(std::span<std::byte> region, u64 offset, u64 count) {
  return {reinterpret_cast<BlockChunk*>(region.data() + offset), count};
}

void mark_used(std::span<BlockChunk> chunks, u64 frame) {
  BlockChunk& chunk = chunks[frame / kBlocksPerChunk];
  const u32 index = frame % kBlocksPerChunk;
  chunk.blocks[index].store(BlockState{BlockUse::used, {}, 0}.packed());
  chunk.probably_used.fetch_or(1ull << index);
}

}  // namespace

u64 allocator_region_bytes(u64 frames, u64 object_bytes) {
  const u64 slabs = (object_bytes + kPageBytes - 1) / kPageBytes;
  const u64 chunks = frame_chunks_at() + (chunks_for(frames) + slabs) * sizeof(BlockChunk);
  return align_up(chunks, kPageBytes) + slabs * kPageBytes;
}

Status FrameAllocator::format(const Pool& pool, u64 used_frames) {
  DVM_ASSIGN(const auto region, pool.region(RegionKind::allocator, kAllocatorVersion));
  DVM_ASSIGN(const auto frames, pool.region_header(RegionKind::frames, 1));
  const u64 count = frames.bytes / kPageBytes;
  const u64 fixed = frame_chunks_at() + chunks_for(count) * sizeof(BlockChunk);
  if (fixed > region.size() || used_frames > count) {
    return error("pool {}: an allocator of {} bytes is too small for {} frames", pool.name(),
                 region.size(), count);
  }
  auto& h = *reinterpret_cast<AllocatorHeader*>(region.data());
  h.frames_offset = frames.offset;
  h.frame_count = count;
  h.frame_chunks_offset = frame_chunks_at();
  h.slab_chunks_offset = fixed;
  u64 slabs = (region.size() - fixed) / (kPageBytes + sizeof(BlockChunk));
  while (slabs != 0 &&
         align_up(fixed + slabs * sizeof(BlockChunk), kPageBytes) + slabs * kPageBytes >
             region.size()) {
    --slabs;
  }
  h.slab_count = slabs;
  h.objects_offset = align_up(fixed + slabs * sizeof(BlockChunk), kPageBytes);
  const auto chunks = chunks_at(region, h.frame_chunks_offset, chunks_for(count));
  for (u64 f = 0; f < used_frames; ++f) mark_used(chunks, f);
  // Frames of the last chunk that do not exist are nobody's to find.
  for (u64 f = count; f < chunks.size() * kBlocksPerChunk; ++f) mark_used(chunks, f);
  h.magic = kMagic;
  std::atomic_ref(h.checksum).store(checksum_of(h), std::memory_order_release);
  return {};
}

Result<FrameAllocator> FrameAllocator::attach(const Pool& pool, const InstanceTable& instances) {
  DVM_ASSIGN(const auto region, pool.region(RegionKind::allocator, kAllocatorVersion));
  DVM_ASSIGN(const auto where, pool.region_header(RegionKind::allocator, kAllocatorVersion));
  DVM_ASSIGN(const auto frames, pool.region_header(RegionKind::frames, 1));
  if (region.size() < sizeof(AllocatorHeader))
    return error("pool {}: allocator at {:#x} has no room for its header", pool.name(),
                 where.offset);
  FrameAllocator a;
  a.header_ = std::launder(reinterpret_cast<AllocatorHeader*>(region.data()));
  const AllocatorHeader& h = *a.header_;
  if (h.magic != kMagic || h.checksum != checksum_of(h)) {
    return error("pool {}: allocator header at {:#x}: no magic, or its checksum is wrong",
                 pool.name(), where.offset);
  }
  if (h.frames_offset != frames.offset || h.frame_count != frames.bytes / kPageBytes ||
      !lies_in(h.frame_chunks_offset, chunks_for(h.frame_count), sizeof(BlockChunk),
               region.size()) ||
      !lies_in(h.slab_chunks_offset, h.slab_count, sizeof(BlockChunk), region.size()) ||
      !lies_in(h.objects_offset, h.slab_count, kPageBytes, region.size()) ||
      !is_aligned(h.frame_chunks_offset, 64) || !is_aligned(h.slab_chunks_offset, 64) ||
      !is_aligned(h.objects_offset, kPageBytes)) {
    return error("pool {}: allocator header at {:#x} names places outside its region", pool.name(),
                 where.offset);
  }
  a.name_ = pool.name();
  a.region_offset_ = where.offset;
  a.metadata_ = {region.data() - where.offset, pool.header().metadata_bytes};
  a.frame_chunks_ = chunks_at(region, h.frame_chunks_offset, chunks_for(h.frame_count));
  a.slab_chunks_ = chunks_at(region, h.slab_chunks_offset, h.slab_count);
  a.instances_ = &instances;
  return a;
}

u64 FrameAllocator::frame_offset(u64 chunk, u32 index) const {
  return header_->frames_offset + (chunk * kBlocksPerChunk + index) * kPageBytes;
}

u64 FrameAllocator::object_offset(u64 slab, u32 index) const {
  const u32 object_class = slab_chunks_[slab].object_class.load(std::memory_order_acquire) - 1;
  return region_offset_ + header_->objects_offset + slab * kPageBytes +
         index * (kMinObjectBytes << object_class);
}

Result<BlockPlace> FrameAllocator::place_of(u64 offset) const {
  const u64 frames = header_->frames_offset, objects = region_offset_ + header_->objects_offset;
  if (offset >= frames && is_aligned(offset, kPageBytes) &&
      (offset - frames) / kPageBytes < header_->frame_count) {
    const u64 frame = (offset - frames) / kPageBytes;
    return BlockPlace{&frame_chunks_[frame / kBlocksPerChunk],
                      static_cast<u32>(frame % kBlocksPerChunk)};
  }
  if (offset >= objects && (offset - objects) / kPageBytes < header_->slab_count) {
    BlockChunk& chunk = slab_chunks_[(offset - objects) / kPageBytes];
    const u32 object_class = chunk.object_class.load(std::memory_order_acquire);
    const u64 within = offset % kPageBytes;
    if (object_class != 0 && object_class <= kObjectClasses &&
        is_aligned(within, kMinObjectBytes << (object_class - 1))) {
      return BlockPlace{&chunk, static_cast<u32>(within / (kMinObjectBytes << (object_class - 1)))};
    }
  }
  return error("pool {}: no block begins at {:#x}", name_, offset);
}

Result<std::atomic<u64>*> FrameAllocator::target_word(u64 offset) const {
  if (!is_aligned(offset, 8) || offset < sizeof(PoolHeader) || offset >= metadata_.size())
    return error("pool {}: {:#x} is no word of the metadata", name_, offset);
  return std::launder(reinterpret_cast<std::atomic<u64>*>(metadata_.data() + offset));
}

bool FrameAllocator::is_recovered(InstanceId dead) const {
  return dead.id < kMaxInstances && header_->recovered[dead.id].load() >= dead.generation;
}

}  // namespace dvm::fabric
