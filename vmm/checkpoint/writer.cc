#include "vmm/checkpoint/writer.h"

#include <sys/random.h>

#include <algorithm>
#include <ctime>

#include "hyperkernel/page_sum.h"

namespace dvm::vmm::checkpoint {
namespace {

Result<FileId> new_id() {
  FileId id{};
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size()))
    return sys_error("getrandom");
  return id;
}

bool is_zero(const std::byte* page) {
  return page[0] == std::byte{0} && std::equal(page + 1, page + kPageBytes, page);
}

// One block's pages, as many as there are.
class BlockWriter {
 public:
  BlockWriter(const Put& put, const Header& header, const Source& source, File* base)
      : put_(put), header_(header), source_(source), base_(base) {}

  Status write(u64 first, std::span<const std::byte> bytes) {
    PageBlock block{};
    block.first = first;
    const u64 count = bytes.size() / kPageBytes;
    u64 run = 0;  // pages before page i that are written with it
    for (u64 i = 0; i <= count; ++i) {
      bool here = false;
      if (i < count) {
        DVM_ASSIGN(here, add(block, i, bytes.data() + i * kPageBytes));
      }
      if (here) {
        ++run;
      } else if (run != 0) {
        DVM_TRY(put_(bytes.subspan((i - run) * kPageBytes, run * kPageBytes),
                     header_.pages_at + (first + i - run) * kPageBytes));
        written_ += std::exchange(run, 0);
      }
    }
    block.checksum = block_checksum(header_.id, block);
    return put_(std::as_bytes(std::span(&block, 1)),
                header_.table_at + first / kBlockPages * kPageBytes);
  }
  u64 written() const { return written_; }

 private:
  // Whether the page is to be written.
  Result<bool> add(PageBlock& block, u64 i, const std::byte* page) {
    if (source_.is_zero && source_.is_zero(block.first + i)) return false;
    const u64 sum = hyperkernel::page_sum(page);
    if (sum == 0) {
      if (!is_zero(page)) return error("page {} cannot be told from zeros", block.first + i);
      return false;
    }
    block.sums[i] = sum;
    if (base_ != nullptr) {
      DVM_ASSIGN(const u64 before, base_->sum(block.first + i));
      if (before == sum) return false;
    }
    block.here[i / 64] |= u64{1} << (i % 64);
    return true;
  }

  const Put& put_;
  const Header& header_;
  const Source& source_;
  File* const base_;
  u64 written_ = 0;
};

Status put_header(const Put& put, Header& header) {
  header.checksum = header_checksum(header);
  return put(std::as_bytes(std::span(&header, 1)), 0);
}

Status put_sections(const Put& put, const std::vector<SectionBytes>& sections, Header& header) {
  u64 at = kHeaderBytes;
  for (const SectionBytes& s : sections) {
    if (s.bytes.size() > kMaxSectionBytes)
      return error("section {} takes {} bytes", section_name(s.kind), s.bytes.size());
    DVM_TRY(put(s.bytes, at));
    header.sections[header.section_count++] = {s.kind, section_checksum(header.id, s.bytes), at,
                                               s.bytes.size()};
    at = align_up(at + s.bytes.size(), 64);
  }
  header.table_at = align_up(at, kPageBytes);
  return {};
}

}  // namespace

Result<Written> write(const Put& put, std::vector<SectionBytes> sections, const Source& source,
                      File* base) {
  Header header{};
  header.magic = kMagic;
  header.version = kFormatVersion;
  DVM_ASSIGN(header.id, new_id());
  if (base != nullptr) header.base = base->header().id;
  header.pages = source.pages;
  header.taken_at = ::time(nullptr);
  DVM_TRY(put_sections(put, sections, header));
  header.pages_at = header.table_at + blocks_for(source.pages) * kPageBytes;
  header.total_bytes = header.pages_at + source.pages * kPageBytes;
  BlockWriter blocks(put, header, source, base);
  for (u64 first = 0; first < source.pages; first += kPartPages) {
    const u64 count = std::min(kPartPages, source.pages - first);
    DVM_ASSIGN(const auto bytes, source.read(first, count));
    for (u64 i = 0; i < count; i += kBlockPages) {
      DVM_TRY(blocks.write(
          first + i, bytes.subspan(i * kPageBytes, std::min(kBlockPages, count - i) * kPageBytes)));
    }
    DVM_TRY(source.go_on(first + count));
  }
  DVM_TRY(put_header(put, header));
  return Written{header, blocks.written()};
}

Status rewrite_section(const Put& put, Header& header, SectionKind kind,
                       std::span<const std::byte> bytes) {
  for (Section& s : std::span(header.sections).first(header.section_count)) {
    if (s.kind != kind) continue;
    if (s.bytes != bytes.size())
      return error("section {} has {} bytes, not {}", section_name(kind), s.bytes, bytes.size());
    DVM_TRY(put(bytes, s.offset));
    s.checksum = section_checksum(header.id, bytes);
    return put_header(put, header);
  }
  return error("there is no section {}", section_name(kind));
}

}  // namespace dvm::vmm::checkpoint
