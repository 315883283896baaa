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
    case RegionKind::health:
    case RegionKind::work:
    case RegionKind::coherence:
    case RegionKind::locality:
    case RegionKind::epoch:
    case RegionKind::undo:
    case RegionKind::resume:
    case RegionKind::sums:
    case RegionKind::replicas:
    case RegionKind::origin: return true;
    case RegionKind::none: break;
  }
  return false;
}

u32 seal_checksum(const RegionSeal& seal) {
  return crc32c(std::as_bytes(std::span(&seal, 1)).first(offsetof(RegionSeal, checksum)));
}

// Where a region's header stands in the pool.
u64 header_offset(u32 index) {
  return offsetof(PoolHeader, regions) + index * sizeof(RegionHeader);
}

Status check_region(const PoolHeader& h, u32 index, std::string_view name) {
  const RegionHeader& r = h.regions[index];
  const bool frames = r.kind == RegionKind::frames;
  const u64 low = frames ? h.metadata_bytes : sizeof(PoolHeader) + sizeof(RegionSeal);
  const u64 high = frames ? h.total_bytes : h.metadata_bytes;
  if (!is_known(r.kind)) {
    return error("pool {}: region {} (header at {:#x}) has unknown kind {}", name, index,
                 header_offset(index), static_cast<u32>(r.kind));
  }
  if (!is_aligned(r.offset, kPageBytes) || r.bytes == 0 || r.offset < low || r.offset > high ||
      r.bytes > high - r.offset) {
    return error("pool {}: region {} (header at {:#x}) at {:#x}+{:#x} lies outside {:#x}..{:#x}",
                 name, index, header_offset(index), r.offset, r.bytes, low, high);
  }
  for (u32 other = 0; other < index; ++other) {
    const RegionHeader& o = h.regions[other];
    if (o.kind == r.kind)
      return error("pool {}: regions {} and {} (header at {:#x}) have the same kind", name, other,
                   index, header_offset(index));
    if (r.offset < o.offset + o.bytes && o.offset < r.offset + r.bytes) {
      return error("pool {}: regions {} and {} (header at {:#x}) overlap", name, other, index,
                   header_offset(index));
    }
  }
  return {};
}

}  // namespace

u32 header_checksum(const PoolHeader& header) {
  return crc32c(std::as_bytes(std::span(&header, 1)).first(offsetof(PoolHeader, checksum)));
}

std::string_view region_name(RegionKind kind) {
  switch (kind) {
    case RegionKind::instances: return "instances";
    case RegionKind::events: return "events";
    case RegionKind::machine: return "machine";
    case RegionKind::page_directory: return "page directory";
    case RegionKind::frames: return "frames";
    case RegionKind::faults: return "faults";
    case RegionKind::allocator: return "allocator";
    case RegionKind::membership: return "membership";
    case RegionKind::health: return "health";
    case RegionKind::work: return "work";
    case RegionKind::coherence: return "coherence";
    case RegionKind::locality: return "locality";
    case RegionKind::epoch: return "epoch";
    case RegionKind::undo: return "undo log";
    case RegionKind::resume: return "resume";
    case RegionKind::sums: return "page sums";
    case RegionKind::replicas: return "replicas";
    case RegionKind::origin: return "origin";
    case RegionKind::none: break;
  }
  return "unknown";
}

RegionSeal make_seal(const RegionHeader& region) {
  RegionSeal seal{};
  seal.magic = kSealMagic;
  seal.region = region;
  seal.checksum = seal_checksum(seal);
  return seal;
}

Status check_seal(const RegionSeal& seal, const RegionHeader& region, std::string_view name) {
  const u64 at = region.offset - sizeof(RegionSeal);
  const char* wrong = nullptr;
  if (seal.magic != kSealMagic) {
    wrong = "no magic";
  } else if (seal.checksum != seal_checksum(seal)) {
    wrong = "wrong checksum";
  } else if (seal.region != region) {
    wrong = "made for another region";
  }
  if (wrong == nullptr) return {};
  return error("pool {}: seal of region {} at offset {:#x}: {}", name, region_name(region.kind), at,
               wrong);
}

Status check_header(const PoolHeader& h, u64 file_bytes, std::string_view name) {
  if (h.magic != kPoolMagic) return error("pool {}: not a dvm pool (no magic at offset 0)", name);
  if (h.version != kPoolVersion) {
    return error("pool {}: layout version {} (at offset {:#x}), this dvm reads version {}", name,
                 h.version, offsetof(PoolHeader, version), kPoolVersion);
  }
  if (h.header_bytes != sizeof(PoolHeader)) {
    return error("pool {}: header of {} bytes (at offset {:#x}), expected {}", name, h.header_bytes,
                 offsetof(PoolHeader, header_bytes), sizeof(PoolHeader));
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
  u64 offset = align_up(sizeof(PoolHeader) + sizeof(RegionSeal), kPageBytes);
  const auto add = [&h](RegionKind kind, u32 version, u64 at, u64 bytes) {
    h.regions[h.region_count++] = {kind, version, at, bytes};
  };
  for (const RegionSpec& spec : metadata) {
    if (spec.bytes > kMaxPoolBytes) return error("a region of {} bytes is too large", spec.bytes);
    add(spec.kind, spec.version, offset, spec.bytes);
    offset += align_up(spec.bytes + sizeof(RegionSeal), kPageBytes);  // the next one's seal
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
