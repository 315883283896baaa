#include "fabric/pool_layout.h"

#include <algorithm>
#include <cstddef>

#include "fabric/crc32c.h"

namespace dvm::fabric {
namespace {

// No pool is larger: 52 physical address bits. Keeps every sum below from overflowing.
constexpr u64 kMaxPoolBytes = 1ull << 52;

// Kinds are stable numbers: new ones are added here and in the header, none is ever reused.
bool is_known(RegionKind kind) {
  switch (kind) {
    case RegionKind::instances:
    case RegionKind::events:
    case RegionKind::machine:
    case RegionKind::page_directory:
    case RegionKind::frames:
    case RegionKind::faults:
    case RegionKind::allocator:
    case RegionKind::membership:
    case RegionKind::work: return true;
    case RegionKind::none: break;
  }
  return false;
}

Status check_region(const PoolHeader& h, u32 index, std::string_view name) {
  const RegionHeader& r = h.regions[index];
  const bool frames = r.kind == RegionKind::frames;
  const u64 low = frames ? h.metadata_bytes : sizeof(PoolHeader);
  const u64 high = frames ? h.total_bytes : h.metadata_bytes;
  if (!is_known(r.kind)) {
    return error("pool {}: region {} has unknown kind {}", name, index, static_cast<u32>(r.kind));
  }
  if (!is_aligned(r.offset, kPageBytes) || r.bytes == 0 || r.offset < low || r.offset > high ||
      r.bytes > high - r.offset) {
    return error("pool {}: region {} at {:#x}+{:#x} lies outside {:#x}..{:#x}", name, index,
                 r.offset, r.bytes, low, high);
  }
  for (u32 other = 0; other < index; ++other) {
    const RegionHeader& o = h.regions[other];
    if (o.kind == r.kind)
      return error("pool {}: regions {} and {} have the same kind", name, other, index);
    if (r.offset < o.offset + o.bytes && o.offset < r.offset + r.bytes) {
      return error("pool {}: regions {} and {} overlap", name, other, index);
    }
  }
  return {};
}

}  // namespace

u32 header_checksum(const PoolHeader& header) {
  return crc32c(std::as_bytes(std::span(&header, 1)).first(offsetof(PoolHeader, checksum)));
}

Status check_header(const PoolHeader& h, u64 file_bytes, std::string_view name) {
  if (h.magic != kPoolMagic) return error("pool {}: not a dvm pool (no magic at offset 0)", name);
  if (h.version != kPoolVersion) {
    return error("pool {}: layout version {}, this dvm reads version {}", name, h.version,
                 kPoolVersion);
  }
  if (h.header_bytes != sizeof(PoolHeader)) {
    return error("pool {}: header of {} bytes, expected {}", name, h.header_bytes,
                 sizeof(PoolHeader));
  }
  const u32 sum = header_checksum(h);
  if (h.checksum != sum) {
    return error("pool {}: header checksum {:#010x} at offset {:#x}, computed {:#010x}", name,
                 h.checksum, offsetof(PoolHeader, checksum), sum);
  }
  if (h.total_bytes > kMaxPoolBytes || h.total_bytes > file_bytes) {
    return error("pool {}: {} bytes expected, the file has {}", name, h.total_bytes, file_bytes);
  }
  if (h.metadata_bytes > h.total_bytes || !is_aligned(h.metadata_bytes, kPageBytes) ||
      h.region_count > kMaxRegions) {
    return error("pool {}: metadata of {} bytes with {} regions is out of range", name,
                 h.metadata_bytes, h.region_count);
  }
  for (u32 i = 0; i < h.region_count; ++i) DVM_TRY(check_region(h, i, name));
  return {};
}

Result<PoolHeader> make_header(std::span<const RegionSpec> metadata, u64 frames_bytes,
                               u64 page_bytes) {
  if (metadata.size() + 1 > kMaxRegions) return error("a pool has at most {} regions", kMaxRegions);
  PoolHeader h{};
  h.magic = kPoolMagic;
  h.version = kPoolVersion;
  h.header_bytes = sizeof(PoolHeader);
  h.page_bytes = page_bytes;
  u64 offset = align_up(sizeof(PoolHeader), kPageBytes);
  const auto add = [&h](RegionKind kind, u32 version, u64 at, u64 bytes) {
    h.regions[h.region_count++] = {kind, version, at, bytes};
  };
  for (const RegionSpec& spec : metadata) {
    if (spec.bytes > kMaxPoolBytes) return error("a region of {} bytes is too large", spec.bytes);
    add(spec.kind, spec.version, offset, spec.bytes);
    offset += align_up(spec.bytes, kPageBytes);
  }
  h.metadata_bytes = align_up(offset, std::max(page_bytes, kHugePageBytes));
  if (frames_bytes > kMaxPoolBytes || h.metadata_bytes > kMaxPoolBytes - frames_bytes) {
    return error("a pool of {} bytes of guest memory is too large", frames_bytes);
  }
  add(RegionKind::frames, 1, h.metadata_bytes, frames_bytes);
  h.total_bytes = align_up(h.metadata_bytes + frames_bytes, std::max(page_bytes, kHugePageBytes));
  h.checksum = header_checksum(h);
  return h;
}

}  // namespace dvm::fabric
