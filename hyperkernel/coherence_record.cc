#include "hyperkernel/coherence_record.h"

#include <algorithm>

namespace dvm::hyperkernel {
namespace {

using fabric::RegionKind;

constexpr u64 words_of(u64 pages) { return (pages + 63) / 64; }
constexpr u64 groups_of(u64 frames) { return (frames + kFrameGroup - 1) / kFrameGroup; }
constexpr u64 use_bytes(u64 frames) { return align_up(groups_of(frames) * sizeof(FrameUse), 8); }

}  // namespace

u64 coherence_region_bytes(u64 pages, u64 shared_frames) {
  return sizeof(CoherenceRecord) + shared_frames * sizeof(SharedFrame) + use_bytes(shared_frames) +
         kMaxNodes * words_of(pages) * sizeof(u64);
}

Status Coherence::format(const fabric::Pool& pool, const CoherenceLayout& layout) {
  DVM_ASSIGN(auto* record,
             pool.new_record<CoherenceRecord>(RegionKind::coherence, kCoherenceVersion));
  record->pages = layout.pages;
  record->first_frame = layout.first_frame;
  record->shared_frames = layout.shared_frames;
  record->local_pages = layout.local_pages;
  return of(pool).ok() ? Status() : of(pool).error();
}

Result<Coherence> Coherence::of(const fabric::Pool& pool) {
  DVM_ASSIGN(auto* record, pool.record<CoherenceRecord>(RegionKind::coherence, kCoherenceVersion));
  DVM_ASSIGN(const auto region, pool.region_header(RegionKind::coherence, kCoherenceVersion));
  DVM_ASSIGN(const auto frames, pool.region_header(RegionKind::frames, 1));
  const u64 all = frames.bytes / kPageBytes;
  if (record->pages > all || record->first_frame < record->pages || record->first_frame > all ||
      record->shared_frames > all - record->first_frame ||
      coherence_region_bytes(record->pages, record->shared_frames) > region.bytes) {
    return error("pool {}: coherence at offset {:#x}: {} pages and {} shared frames do not fit",
                 pool.name(), region.offset, record->pages, record->shared_frames);
  }
  Coherence c;
  c.record_ = record;
  auto* frame = reinterpret_cast<SharedFrame*>(record + 1);
  c.frames_ = {frame, record->shared_frames};
  c.marks_per_node_ = words_of(record->pages);
  auto* use = reinterpret_cast<FrameUse*>(frame + record->shared_frames);
  c.uses_ = {use, groups_of(record->shared_frames)};
  c.marks_ = {reinterpret_cast<std::atomic<u64>*>(reinterpret_cast<std::byte*>(use) +
                                                  use_bytes(record->shared_frames)),
              kMaxNodes * c.marks_per_node_};
  return c;
}

bool Coherence::take(u64 index, u64 page, u64 home) const {
  u64 expected = 0;
  return frames_[index].word.load(std::memory_order_relaxed) == 0 &&
         frames_[index].word.compare_exchange_strong(expected, (page + 1) | home << 32);
}

// Whether all that is in these frames is of the same group of pages, in its place.
bool Coherence::may_join(u64 first, u64 page) const {
  for (u64 i = 0; i < kFrameGroup; ++i) {
    const u64 word = frames_[first + i].word.load(std::memory_order_relaxed);
    if (word != 0) return (word & 0xffff'ffff) - 1 == page - page % kFrameGroup + i;
  }
  return true;
}

// Pages that lie side by side get frames that do, so that they are mapped at once: each group of
// pages has a group of frames where it looks first, and takes the next one that is free or its own.
u64 Coherence::take_frame(u64 page, u64 home) const {
  const u64 groups = frames_.size() / kFrameGroup;
  const u64 place = page % kFrameGroup;
  // Groups of pages in order, but areas of 64 of them spread.
  const u64 area = page / kFrameGroup / 64 * 0x9e37'79b9;
  for (u64 i = 0; i < groups; ++i) {
    const u64 first = (area + page / kFrameGroup + i) % groups * kFrameGroup;
    if (frames_[first + place].word.load(std::memory_order_relaxed) != 0 || !may_join(first, page))
      continue;
    if (take(first + place, page, home)) return record_->first_frame + first + place;
  }
  for (u64 i = 0; i < frames_.size(); ++i) {
    if (take(i, page, home)) return record_->first_frame + i;
  }
  return ~0ull;
}

std::optional<u64> Coherence::home_of(u64 page, u64 frame) const {
  if (frame < record_->first_frame || frame - record_->first_frame >= frames_.size())
    return std::nullopt;
  const u64 word = frames_[frame - record_->first_frame].word.load(std::memory_order_acquire);
  const u64 home = word >> 32;
  if (word == 0 || (word & 0xffff'ffff) - 1 != page || home >= record_->pages) return std::nullopt;
  return home;
}

void Coherence::free_frame(u64 frame) const {
  frames_[frame - record_->first_frame].word.store(0, std::memory_order_release);
}

u64 Coherence::frames_in_use() const {
  u64 count = 0;
  for (const SharedFrame& f : frames_)
    count += f.word.load(std::memory_order_relaxed) != 0 ? 1u : 0u;
  return count;
}

std::vector<u64> Coherence::pages_of_group(u64 group) const {
  std::vector<u64> pages;
  const u64 first = group * kFrameGroup;
  for (const auto& f : frames_.subspan(first, std::min(kFrameGroup, frames_.size() - first))) {
    const u64 word = f.word.load(std::memory_order_acquire);
    if (word != 0 && (word & 0xffff'ffff) <= record_->pages)
      pages.push_back((word & 0xffff'ffff) - 1);
  }
  return pages;
}

void Coherence::note_use(u64 frame, u64 count, u32 node) const {
  if (frame < record_->first_frame) return;
  const u64 first = (frame - record_->first_frame) / kFrameGroup;
  const u64 end = std::min<u64>(groups_of(frame - record_->first_frame + count), uses_.size());
  for (u64 g = first; g < end; ++g) {
    auto& word = uses_[g].word;
    if ((word.load(std::memory_order_relaxed) & only(node)) == 0) word.fetch_or(only(node));
  }
}

// The mark first, then the look: the node stores `runs` first, then looks at its marks. One of the
// two sees the other.
bool Coherence::mark(u32 node, u64 page) const {
  const auto& runs = record_->nodes[node].runs;
  if (runs.load(std::memory_order_seq_cst) != 0) return false;
  marks_of(node)[page / 64].fetch_or(1ull << (page % 64), std::memory_order_seq_cst);
  return runs.load(std::memory_order_seq_cst) == 0;
}

}  // namespace dvm::hyperkernel
