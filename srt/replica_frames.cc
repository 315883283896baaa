// The replica table's own frames: copies that last, and blocks read before anybody asks for them.
#include <algorithm>

#include "srt/replica_table.h"

namespace dvm::srt {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// How many frames are looked at to find one for a block.
constexpr u32 kLookAt = 16;

}  // namespace

// If it still is that block's.
void ReplicaTable::free_frame(const ReplicaPlace& place, u64 key) {
  if (place.kind == ReplicaPlace::Kind::kept && place.at < frames_.size())
    frames_[place.at].key.compare_exchange_strong(key, 0, kRelaxed);
}

std::optional<u64> ReplicaTable::keep(BlockKey key, u32 boot) {
  if (frames_for_reads() == 0) return std::nullopt;
  // A free one, else the one that was used in the earliest boot, which is none if it was read
  // ahead.
  std::optional<u64> best;
  u64 best_key = 0;
  u32 best_boot = boot;
  for (u32 tried = 0; tried < kLookAt; ++tried) {
    const u64 frame = header_->hand.fetch_add(1, kRelaxed) % frames_for_reads();
    const u64 before = frames_[frame].key.load(kRelaxed);
    const u32 used = frames_[frame].boot.load(kRelaxed);
    if (before != 0 && (used == boot || (best && used >= best_boot))) continue;
    best = frame, best_key = before, best_boot = used;
    if (before == 0) break;
  }
  if (!best || !frames_[*best].key.compare_exchange_strong(best_key, key.packed(), kRelaxed))
    return std::nullopt;
  frames_[*best].boot.store(boot, kRelaxed);
  return best;
}

std::span<std::byte> ReplicaTable::kept(u64 frame) const {
  if (frame >= frames_.size()) return {};
  return kept_.bytes().subspan(frame * kPageBytes, kPageBytes);
}

u64 ReplicaTable::kept_in_use() const {
  return static_cast<u64>(
      std::ranges::count_if(frames_, [](const KeptFrame& f) { return f.key.load(kRelaxed) != 0; }));
}

std::optional<u64> ReplicaTable::keep_written(BlockKey key, u32 boot) {
  const u64 first = frames_for_reads(), count = frames_.size() - first;
  if (count == 0) return std::nullopt;
  const u64 frame = first + header_->written.fetch_add(1, kRelaxed) % count;
  frames_[frame].key.store(key.packed(), kRelaxed);
  frames_[frame].boot.store(boot, kRelaxed);
  return frame;
}

// In the order of the hand, so that a table that is filled from the start finds the next one at
// once.
std::optional<u64> ReplicaTable::keep_ahead(BlockKey key) {
  for (u32 tried = 0; tried < kLookAt && frames_for_reads() != 0; ++tried) {
    const u64 frame = header_->hand.fetch_add(1, kRelaxed) % frames_for_reads();
    KeptFrame& f = frames_[frame];
    u64 nothing = 0;
    if (f.key.load(kRelaxed) != 0) continue;
    if (!f.key.compare_exchange_strong(nothing, key.packed(), kRelaxed)) continue;
    f.boot.store(0, kRelaxed);
    return frame;
  }
  return std::nullopt;
}

bool ReplicaTable::is_ahead(u64 frame) const {
  return frame < frames_.size() && frames_[frame].key.load(kRelaxed) != 0 &&
         frames_[frame].boot.load(kRelaxed) == 0;
}

bool ReplicaTable::holds_ahead(BlockKey key, u64 frame) const {
  return is_ahead(frame) && frames_[frame].key.load(kRelaxed) == key.packed();
}

void ReplicaTable::give_up_ahead(BlockKey key, u64 frame) {
  free_frame({ReplicaPlace::Kind::kept, 0, frame}, key.packed());
}

}  // namespace dvm::srt
