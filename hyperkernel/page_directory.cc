#include "hyperkernel/page_directory.h"

#include <algorithm>

namespace dvm::hyperkernel {

u64 page_directory_bytes(u64 pages) { return (pages + 1) * sizeof(u64); }

Result<PageDirectory> PageDirectory::of(const fabric::Pool& pool) {
  DVM_ASSIGN(const auto bytes,
             pool.region(fabric::RegionKind::page_directory, kPageDirectoryVersion));
  if (bytes.size() < sizeof(u64)) return error("page directory: {} bytes long", bytes.size());
  auto* words = reinterpret_cast<std::atomic<u64>*>(bytes.data());
  DVM_ASSIGN(const auto where,
             pool.region_header(fabric::RegionKind::page_directory, kPageDirectoryVersion));
  return PageDirectory({words, bytes.size() / sizeof(u64)}, where.offset);
}

std::optional<DirEntry> PageDirectory::lookup(u64 index) const {
  if (index >= words_.size()) return std::nullopt;
  return DirEntry::unpack(words_[index].load(std::memory_order_acquire) ^ plain(index));
}

bool PageDirectory::transition(u64 index, const DirEntry& expected, const DirEntry& desired) {
  if (index >= words_.size()) return false;
  if (changed_->load(std::memory_order_relaxed) == 0)
    changed_->store(1);  // whoever dies now has only made others look
  u64 word = expected.packed() ^ plain(index);
  return words_[index].compare_exchange_strong(word, desired.packed() ^ plain(index),
                                               std::memory_order_acq_rel);
}

void PageDirectory::begin_at_home(u64 count) {
  changed_->store(1);
  for (u64 i = 0; i < std::min<u64>(count, words_.size()); ++i) {
    const DirEntry home{.frame = i, .mode = PageMode::replicated};
    words_[i].store(home.packed() ^ plain(i), std::memory_order_release);
  }
}

void PageDirectory::reset() {
  for (auto& word : words_) {
    if (word.load(std::memory_order_relaxed) != 0) word.store(0, std::memory_order_release);
  }
  changed_->store(0);
}

Status PageDirectory::check_entry(u64 index, u64 frame_count) const {
  const DirEntry entry = *lookup(index);
  if (entry.sound() && entry.frame < frame_count) return {};
  return error(
      "page directory: entry {} at offset {:#x} names frame {:#x} of {:#x}, mode {}, nodes {:#x}",
      index, pool_offset_ + index * sizeof(u64), entry.frame, frame_count,
      static_cast<int>(entry.mode), entry.nodes);
}

Status PageDirectory::check(u64 frame_count) const {
  for (u64 i = 0; i < words_.size(); ++i) DVM_TRY(check_entry(i, frame_count));
  return {};
}

Result<FrameRun> PageDirectory::run_at(u64 index, u64 limit, u64 frame_count) const {
  const u64 have = index < words_.size() ? words_.size() - index : 0;
  const u64 end = index + std::min(have, limit);
  if (!has_changed() && end <= frame_count) return FrameRun{index, index, end - index};
  FrameRun run{index, 0, 0};
  for (u64 i = index; i < end; ++i) {
    DVM_TRY(check_entry(i, frame_count));
    const u64 frame = lookup(i)->frame;
    if (run.pages == 0) run.frame = frame;
    if (frame != run.frame + run.pages) break;
    ++run.pages;
  }
  return run;
}

}  // namespace dvm::hyperkernel
