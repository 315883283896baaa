// The pool's first page: what the file is and where its regions lie. Written once, when the pool is
// made, and only read afterwards; docs/pool-layout.md draws it.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <type_traits>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::fabric {

inline constexpr std::array<char, 8> kPoolMagic = {'D', 'V', 'M', 'P', 'O', 'O', 'L', '\0'};
inline constexpr u32 kPoolVersion = 2;
inline constexpr u32 kMaxRegions = 16;

enum class RegionKind : u32 {
  none = 0,
  instances = 1,       // InstanceTable
  events = 2,          // EventLog
  machine = 3,         // vmm::MachineState
  page_directory = 4,  // hyperkernel::DirEntry[]
  frames = 5,          // guest page frames; the only region outside the metadata
  faults = 6,          // FaultBoard
  allocator = 7,       // AllocatorHeader and what it describes
  membership = 8,      // FabricState
  health = 9,          // HealthTable
  work = 10,           // mapreduce::JobRecord, task words and a table
  coherence = 13,      // hyperkernel::CoherenceRecord, shared frames and marks
  locality = 14,       // locality::LocalityRecord
  epoch = 15,          // vmm::EpochRecord
  undo = 16,           // hyperkernel::UndoHeader, stamps, slots and images of pages
  resume = 17,         // vmm::ResumeRecord
  sums = 18,           // hyperkernel::SumsHeader and a sum for each page of RAM
  replicas = 19,       // srt::ReplicaHeader, kept frames and buckets
  origin = 20,         // hyperkernel::OriginRecord and a bit for each page of RAM
};

// `version` is that of the region's own records; a reader that knows another refuses the pool.
struct RegionHeader {
  RegionKind kind;
  u32 version;
  u64 offset;  // bytes from the start of the pool
  u64 bytes;
  friend bool operator==(const RegionHeader&, const RegionHeader&) = default;
};
static_assert(sizeof(RegionHeader) == 24);

struct PoolHeader {
  std::array<char, 8> magic;
  u32 version;
  u32 header_bytes;    // sizeof(PoolHeader)
  u64 total_bytes;     // of the pool; the file may be longer (a device), never shorter
  u64 metadata_bytes;  // [0, metadata_bytes): this header and the metadata regions
  u64 page_bytes;      // 4096, or the huge page size of a hugetlbfs file
  u32 region_count;
  u32 reserved;
  std::array<RegionHeader, kMaxRegions> regions;
  u32 reserved_tail;
  u32 checksum;  // CRC-32C of all bytes before it
};
static_assert(sizeof(PoolHeader) == 48 + 24 * kMaxRegions + 8);
static_assert(std::is_trivially_copyable_v<PoolHeader> && std::is_standard_layout_v<PoolHeader>);

u32 header_checksum(const PoolHeader& header);
std::string_view region_name(RegionKind kind);

// Stands right before each metadata region: what was laid out there, once more, so that a header
// that is whole and a region that is not are not taken for a pair. Written with the header.
struct RegionSeal {
  std::array<char, 8> magic;
  RegionHeader region;
  std::array<u64, 3> reserved;
  u32 reserved_tail;
  u32 checksum;  // CRC-32C of all bytes before it
};
static_assert(sizeof(RegionSeal) == 64);
inline constexpr std::array<char, 8> kSealMagic = {'D', 'V', 'M', 'R', 'E', 'G', 'N', '\0'};
RegionSeal make_seal(const RegionHeader& region);
// The error names the region and the seal's offset; `name` is the file.
Status check_seal(const RegionSeal& seal, const RegionHeader& region, std::string_view name);

// The one door for a header read from a file: every offset and length it holds is in bounds,
// regions do not overlap and lie where their kind belongs. The error names the field; `name` is the
// file.
Status check_header(const PoolHeader& header, u64 file_bytes, std::string_view name);

struct RegionSpec {
  RegionKind kind;
  u32 version;
  u64 bytes;
};
// Lays the metadata regions out behind the header, page aligned, then `frames_bytes` of frames at
// the next multiple of `page_bytes` that is at least 2 MiB aligned. Error when it does not fit in
// u64.
Result<PoolHeader> make_header(std::span<const RegionSpec> metadata, u64 frames_bytes,
                               u64 page_bytes);

}  // namespace dvm::fabric
