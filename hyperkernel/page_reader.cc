#include "hyperkernel/page_reader.h"

#include <bit>
#include <cstring>

#include "hyperkernel/cache_lines.h"

namespace dvm::hyperkernel {

Result<std::unique_ptr<PageReader>> PageReader::open(const fabric::Pool& pool,
                                                     const fabric::InstanceTable& instances) {
  DVM_ASSIGN(auto coherence, Coherence::of(pool));
  std::unique_ptr<PageReader> reader(new PageReader(std::move(coherence), instances));
  DVM_ASSIGN(reader->directory_, PageDirectory::of(pool));
  DVM_ASSIGN(const auto region, pool.region_header(fabric::RegionKind::frames, 1));
  DVM_ASSIGN(reader->frames_, Mapping::shared(pool.fd(), region.offset, region.bytes, pool.name()));
  return reader;
}

Status PageReader::read(PageRun run, std::span<std::byte> to) {
  if (to.size() != run.count * kPageBytes || run.first + run.count > coherence_.pages())
    return error("pages {}+{} are not RAM", run.first, run.count);
  for (u64 i = 0; i < run.count; ++i) DVM_TRY(read_page(run.first + i, to.data() + i * kPageBytes));
  return {};
}

// The entry without its mover leads to the content at every instant (coherence.h); if it still says
// the same afterwards, what was read was the page's.
Status PageReader::read_page(u64 page, std::byte* to) {
  for (;;) {
    DirEntry entry = directory_->lookup(page).value_or(DirEntry{});
    if (!entry.sound() || entry.frame >= frames_.size() / kPageBytes)
      return error("page directory: the entry of page {} is damaged: {:#x}", page, entry.packed());
    DVM_TRY(read_once(page, entry, to));
    DirEntry after = directory_->lookup(page).value_or(DirEntry{});
    entry.mover = after.mover = 0;
    if (after == entry) return {};
  }
}

Status PageReader::read_once(u64 page, const DirEntry& entry, std::byte* to) {
  if (entry.mode == PageMode::owned) {
    const auto owner = static_cast<u32>(std::countr_zero(entry.nodes));
    const auto memory = peers_.memory(owner);
    if (memory == nullptr)
      return error("the memory of node {}, which has page {}, cannot be reached", owner, page);
    DVM_ASSIGN(const u64 found, memory->read({page, 1}, to));
    // Still there: it was not discarded under the reading. Else its content is at home.
    if (found != 0 && memory->has(page)) return {};
  }
  const std::span home(frames_.data() + entry.frame * kPageBytes, kPageBytes);
  if (entry.mode != PageMode::shared) forget_lines(home);
  std::memcpy(to, home.data(), kPageBytes);
  return {};
}

}  // namespace dvm::hyperkernel
