// A checkpoint's file: whatever its bytes are, it is refused or read, and what is read are whole
// pages. Checksums are made right for every other input, for what lies behind them to be reached.
#include <sys/mman.h>

#include <cstring>

#include "tests/fuzz/input.h"
#include "vmm/checkpoint/image.h"

namespace {

using namespace dvm;
using namespace dvm::vmm::checkpoint;

void mend(std::vector<std::byte>& bytes) {
  if (bytes.size() < kHeaderBytes) return;
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.magic = kMagic;
  header.version = kFormatVersion;
  for (Section& s : std::span(header.sections).first(header.section_count % kSectionKinds)) {
    if (s.offset < bytes.size() && s.bytes <= bytes.size() - s.offset)
      s.checksum = section_checksum(header.id, std::span(bytes).subspan(s.offset, s.bytes));
  }
  for (u64 at = header.table_at, first = 0;
       at % 8 == 0 && at < bytes.size() && bytes.size() - at >= sizeof(PageBlock) &&
       first < 64 * kBlockPages;
       at += sizeof(PageBlock), first += kBlockPages) {
    PageBlock block;
    std::memcpy(&block, bytes.data() + at, sizeof block);
    block.first = first;
    block.checksum = block_checksum(header.id, block);
    std::memcpy(bytes.data() + at, &block, sizeof block);
  }
  header.checksum = header_checksum(header);
  std::memcpy(bytes.data(), &header, sizeof header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto given = std::as_bytes(std::span(data, size));
  std::vector<std::byte> bytes(given.begin(), given.end());
  if (size % 2 == 0) mend(bytes);
  Fd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  if (!fd.valid() || !fd.pwrite_all(bytes, 0, "fuzz").ok()) return 0;
  std::vector<Fd> files;
  files.push_back(std::move(fd));
  auto file = File::adopt(std::move(files), "fuzz");
  if (!file.ok()) return 0;
  (void)decode(*file);
  std::vector<std::byte> pages(4 * kPageBytes);
  for (u64 first = 0; first + 4 <= file->pages() && first < 1024; first += 4) {
    if (!file->read(first, pages).ok()) break;
  }
  return 0;
}
