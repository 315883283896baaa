#include "srt/ahead_read.h"

#include <algorithm>
#include <cstring>

namespace dvm::srt {

AheadRead AheadRead::begin(ReplicaTable& table, const BlockRun& run, u32 most) {
  AheadRead read;
  const u32 blocks = std::min(run.blocks, most);
  for (; read.seen_to_ < blocks; ++read.seen_to_) {
    const BlockKey key{run.disk, run.first + read.seen_to_};
    const u64 writes = table.writes(key);
    if (table.find(key)) continue;
    const auto frame = table.keep_ahead(key);
    if (!frame) break;
    read.parts_.push_back({key, writes, *frame});
  }
  read.run_.disk = run.disk;
  if (read.parts_.empty()) return read;
  read.run_.first = read.parts_.front().key.block;
  read.run_.blocks = static_cast<u32>(read.parts_.back().key.block - read.run_.first + 1);
  return read;
}

// Copied first and summed then, so that the sum is that of what the frame holds.
bool AheadRead::put(ReplicaTable& table, const Part& part,
                    std::span<const std::byte> content) const {
  if (content.size() != bytes() || !table.holds_ahead(part.key, part.frame)) return false;
  const auto to = table.kept(part.frame);
  std::memcpy(to.data(), content.data() + (part.key.block - run_.first) * kBlockBytes, kBlockBytes);
  return table.put_ahead(part.key, part.frame, block_sum(to.data()), part.writes);
}

void AheadRead::end(ReplicaTable& table, std::span<const std::byte> content) {
  for (const Part& part : parts_) {
    if (!put(table, part, content)) table.give_up_ahead(part.key, part.frame);
  }
  parts_.clear();
}

}  // namespace dvm::srt
