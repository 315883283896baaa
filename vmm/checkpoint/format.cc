#include "vmm/checkpoint/format.h"

#include <algorithm>
#include <cstddef>

#include "fabric/crc32c.h"

namespace dvm::vmm::checkpoint {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const T& what) {
  return std::as_bytes(std::span(&what, 1));
}

u32 begin(const FileId& id) { return fabric::crc32c(std::as_bytes(std::span(id))); }

}  // namespace

std::string_view section_name(SectionKind kind) {
  constexpr std::array<std::string_view, kSectionKinds> kNames = {
      "none", "config", "cpu", "guest", "vcpus", "devices", "launch", "disks", "base"};
  const auto index = static_cast<u32>(kind);
  return index < kNames.size() ? kNames[index] : "unknown";
}

u32 header_checksum(const Header& header) {
  return fabric::crc32c(bytes_of(header).first(offsetof(Header, checksum)));
}

u32 section_checksum(const FileId& id, std::span<const std::byte> bytes) {
  return fabric::crc32c(bytes, begin(id));
}

u32 block_checksum(const FileId& id, const PageBlock& block) {
  return fabric::crc32c(bytes_of(block).first(offsetof(PageBlock, checksum)), begin(id));
}

Status check_header(const Header& header, u64 file_bytes, std::string_view name) {
  if (header.magic != kMagic) return error("{}: not a checkpoint", name);
  if (header.version != kFormatVersion) {
    return error("{}: a checkpoint of format {}; allowed: {}", name, header.version,
                 kFormatVersion);
  }
  if (header.checksum != header_checksum(header))
    return error("{}: its header is damaged: the checksum is wrong", name);
  if (header.total_bytes > file_bytes)
    return error("{}: cut off: {} of {} bytes", name, file_bytes, header.total_bytes);
  const auto wrong = [&](std::string_view what) {
    return error("{}: its header is damaged: {}", name, what);
  };
  constexpr u64 kMostPages = u64{1} << 32;  // as many as a pool can have
  if (header.section_count >= kSectionKinds || header.pages == 0 || header.pages > kMostPages)
    return wrong("a number is out of range");
  u64 end = kHeaderBytes;
  u32 seen = 0;
  for (const Section& s : std::span(header.sections).first(header.section_count)) {
    const auto kind = static_cast<u32>(s.kind);
    if (kind == 0 || kind >= kSectionKinds || (seen >> kind & 1) != 0)
      return wrong("a section of no kind");
    seen |= 1u << kind;
    if (s.offset < end || s.offset > header.total_bytes || s.bytes > kMaxSectionBytes)
      return wrong("sections overlap");
    end = s.offset + s.bytes;
  }
  const u64 table = blocks_for(header.pages) * kPageBytes;
  if (header.table_at < end || header.table_at > header.total_bytes ||
      header.table_at % kPageBytes != 0 || header.pages_at % kPageBytes != 0 ||
      header.pages_at < header.table_at + table ||
      header.total_bytes != header.pages_at + header.pages * kPageBytes)
    return wrong("its parts do not fit together");
  return {};
}

Status check_block(const FileId& id, const PageBlock& block, u64 first, std::string_view name) {
  if (block.checksum == block_checksum(id, block) && block.first == first) return {};
  return error("{}: damaged: what pages {} to {} are has a wrong checksum", name, first,
               first + kBlockPages - 1);
}

}  // namespace dvm::vmm::checkpoint
