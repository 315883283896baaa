#include "tools/mapreduce/apps/chunker.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tools/mapreduce/random.h"

namespace dvm::mapreduce {
namespace {

constexpr std::array<u64, 256> kGear = [] {
  std::array<u64, 256> table{};
  Random random(0x6765617273);
  for (u64& entry : table) entry = random.next();
  return table;
}();
constexpr u64 kEndMask = 0xfffull << 52;  // one byte in 4096 ends a chunk

constexpr u64 mix(u64 hash, u64 word) {
  hash = (hash ^ word) * 0x9fb21c651e98df25ull;
  return hash ^ (hash >> 32);
}

}  // namespace

u64 first_chunk(std::span<const std::byte> bytes) {
  const u64 most = std::min<u64>(bytes.size(), kMostChunk);
  u64 hash = 0;
  for (u64 i = kLeastChunk - std::min<u64>(64, kLeastChunk); i < most; ++i) {
    hash = (hash << 1) + kGear[static_cast<u8>(bytes[i])];
    if ((hash & kEndMask) == 0 && i >= kLeastChunk) return i;
  }
  return most;
}

u64 chunk_hash(std::span<const std::byte> chunk) {
  u64 hash = mix(0x2545f4914f6cdd1dull, chunk.size());
  while (chunk.size() >= 8) {
    u64 word = 0;
    std::memcpy(&word, chunk.data(), 8);
    hash = mix(hash, word);
    chunk = chunk.subspan(8);
  }
  u64 rest = 0;
  if (!chunk.empty()) std::memcpy(&rest, chunk.data(), chunk.size());
  hash = mix(mix(hash, rest), hash);
  return hash == 0 ? 1 : hash;
}

}  // namespace dvm::mapreduce
