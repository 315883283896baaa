#include "tools/mapreduce/apps/chunk_table.h"

#include <bit>

#include "fabric/failpoint.h"
#include "tools/mapreduce/job_view.h"

namespace dvm::mapreduce {

u64 ChunkTable::bytes_for(u64 chunks) { return std::bit_ceil(2 * chunks + 1) * sizeof(Entry); }

ChunkTable::ChunkTable(std::span<std::byte> memory) : entries_(values_in<Entry>(memory)) {}

void ChunkTable::tell(u64 hash, u64 position) {
  const u64 mask = entries_.size() - 1;
  for (u64 at = hash & mask;; at = (at + 1) & mask) {
    Entry& entry = entries_[at];
    u64 there = entry.hash.load(std::memory_order_acquire);
    if (there == 0 && entry.hash.compare_exchange_strong(there, hash, std::memory_order_acq_rel))
      there = hash;
    if (there != hash) continue;
    fabric::failpoint("mapreduce.chunk_named");
    u64 first = entry.first.load(std::memory_order_acquire);
    while ((first == 0 || position + 1 < first) &&
           !entry.first.compare_exchange_weak(first, position + 1, std::memory_order_acq_rel)) {
    }
    return;
  }
}

std::optional<u64> ChunkTable::first(u64 hash) const {
  const u64 mask = entries_.size() - 1;
  for (u64 at = hash & mask;; at = (at + 1) & mask) {
    const u64 there = entries_[at].hash.load(std::memory_order_acquire);
    if (there == 0) return std::nullopt;
    if (there != hash) continue;
    const u64 first = entries_[at].first.load(std::memory_order_acquire);
    if (first == 0) return std::nullopt;
    return first - 1;
  }
}

}  // namespace dvm::mapreduce
