// A checkpoint file: all of a guest at one instant (docs/checkpoints.md draws it). Little-endian.
//
//   header, 4 KiB | sections | page table, a block for each 496 pages | pages, each at its number
//
// Pages of zero bytes are holes. What a file does not have of its own it has in its base, another
// checkpoint of the same guest. Nothing in it is believed before its checksum has been looked at:
// the header, a section, a block of the page table, a page, each when it is needed, so that opening
// a file does not take longer the more pages it has.
#pragma once

#include <array>
#include <span>
#include <string>
#include <type_traits>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::vmm::checkpoint {

inline constexpr std::array<char, 8> kMagic = {'D', 'V', 'M', 'C', 'H', 'K', 'P', 'T'};
inline constexpr u32 kFormatVersion = 2;
inline constexpr u64 kHeaderBytes = kPageBytes;
inline constexpr u64 kMaxSectionBytes = 64 * kMiB;
inline constexpr u32 kMaxBases = 15;  // a file, its base, and so on

enum class SectionKind : u32 {
  none = 0,
  config = 1,   // MachineConfig
  cpu = 2,      // the count and the entries of CpuBaseline
  guest = 3,    // GuestPart
  vcpus = 4,    // VcpuBank of each
  devices = 5,  // GuestBank::devices, as many as are used
  launch = 6,   // how the guest was launched: text
  disks = 7,    // what its disks were: text
  base = 8,     // the base's path: text
};
inline constexpr u32 kSectionKinds = 9;
std::string_view section_name(SectionKind kind);

struct Section {
  SectionKind kind;
  u32 checksum;  // CRC-32C of its bytes, begun with that of the file's id
  u64 offset;
  u64 bytes;
};
static_assert(sizeof(Section) == 24);

using FileId = std::array<u8, 16>;  // random: no two files have the same

struct Header {
  std::array<char, 8> magic;
  u32 version;
  u32 section_count;
  u64 total_bytes;
  FileId id;
  FileId base;   // zero: the file stands for itself
  u64 pages;     // of RAM, in its order, and of the firmware's window behind it
  u64 table_at;  // offset of the page table: at a multiple of 4 KiB, as the next
  u64 pages_at;
  i64 taken_at;  // seconds since 1970
  std::array<Section, kSectionKinds> sections;
  u32 reserved;
  u32 checksum;  // CRC-32C of all bytes before it
};
static_assert(sizeof(Header) == 88 + 24 * kSectionKinds + 8 && sizeof(Header) <= kHeaderBytes);
static_assert(std::is_trivially_copyable_v<Header> && std::is_standard_layout_v<Header>);

inline constexpr u64 kBlockPages = 496;

struct PageBlock {
  std::array<u64, kBlockPages> sums;  // hyperkernel::page_sum; 0: zero bytes, which no file has
  std::array<u64, 8> here;            // bit n: the n-th page is in this file, not in the base
  u64 first;                          // number of its first page
  std::array<u32, 13> reserved;
  u32 checksum;  // CRC-32C of all bytes before it, begun with that of the file's id

  bool is_here(u64 n) const { return (here[n / 64] >> (n % 64) & 1) != 0; }
};
static_assert(sizeof(PageBlock) == kPageBytes);

constexpr u64 blocks_for(u64 pages) { return (pages + kBlockPages - 1) / kBlockPages; }

u32 header_checksum(const Header& header);
u32 section_checksum(const FileId& id, std::span<const std::byte> bytes);
u32 block_checksum(const FileId& id, const PageBlock& block);

// The one door for a header: its checksum is right, and all that it names lies in a file of
// `file_bytes`, in its order, without overlap. The error says what is wrong; `name` is the file.
Status check_header(const Header& header, u64 file_bytes, std::string_view name);
Status check_block(const FileId& id, const PageBlock& block, u64 first, std::string_view name);

}  // namespace dvm::vmm::checkpoint
