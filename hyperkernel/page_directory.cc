#include "hyperkernel/page_directory.h"

#include <algorithm>

namespace dvm::hyperkernel {

Result<PageDirectory> PageDirectory::of(const fabric::Pool& pool) {
  DVM_ASSIGN(const auto bytes,
             pool.region(fabric::RegionKind::page_directory, kPageDirectoryVersion));
  auto* words = reinterpret_cast<std::atomic<u64>*>(bytes.data());
  DVM_ASSIGN(const auto where,
             pool.region_header(fabric::RegionKind::page_directory, kPageDirectoryVersion));
  return PageDirectory({words, bytes.size() / sizeof(u64)}, where.offset);
}

std::optional<DirEntry> PageDirectory::lookup(u64 index) const {
  if (index >= words_.size()) return std::nullopt;
  return DirEntry::unpack(words_[index].load(std::memory_order_acquire));
}

bool PageDirectory::transition(u64 index, const DirEntry& expected, const DirEntry& desired) {
  if (index >= words_.size()) return false;
  u64 word = expected.packed();
  return words_[index].compare_exchange_strong(word, desired.packed(), std::memory_order_acq_rel);
}

void PageDirectory::fill_plain(u64 at_home) {
  for (u64 i = 0; i < words_.size(); ++i) {
    const PageMode mode = i < at_home ? PageMode::replicated : PageMode::shared;
    words_[i].store(DirEntry{.frame = i, .mode = mode}.packed(), std::memory_order_release);
  }
}

Result<FrameRun> PageDirectory::run_at(u64 index, u64 limit, u64 frame_count) const {
  FrameRun run{index, 0, 0};
  const u64 have = index < words_.size() ? words_.size() - index : 0;
  const u64 end = index + std::min(have, limit);
  for (u64 i = index; i < end; ++i) {
    const DirEntry entry = *lookup(i);
    if (!entry.sound() || entry.frame >= frame_count) {
      return error(
          "page directory: entry {} at offset {:#x} names frame {:#x} of {:#x}, mode {}, "
          "nodes {:#x}",
          i, pool_offset_ + i * sizeof(u64), entry.frame, frame_count, static_cast<int>(entry.mode),
          entry.nodes);
    }
    if (run.pages == 0) run.frame = entry.frame;
    if (entry.frame != run.frame + run.pages) break;
    ++run.pages;
  }
  return run;
}

}  // namespace dvm::hyperkernel
