// An archive in which each chunk of the data stands once. Where a chunk ends, its content says; in
// three phases: chunks are found and named by hash, the first place of each hash is agreed upon,
// and each piece of the archive is written.
#include <map>
#include <string_view>

#include "jobs.h"

namespace jobs {
namespace {

constexpr size_t kBytes = 6'000'000, kPieces = 48, kShards = 64;
constexpr size_t kLeastChunk = 128, kMostChunk = 4096;
constexpr uint64_t kEndMask = 0x1ff;  // a chunk has some 512 bytes more than the least

struct Chunk {
  size_t begin, length;
  uint64_t hash;
};

// Blocks of which many stand there before, some with a byte changed.
std::vector<uint8_t> MakeData() {
  guest::Rng rng(7);
  std::vector<uint8_t> data;
  while (data.size() < kBytes) {
    const size_t length = 2000 + rng.Below(6000);
    if (data.size() > 2 * length && rng.Below(3) != 0) {
      const size_t from = rng.Below(data.size() - length);
      data.resize(data.size() + length);
      std::copy_n(data.begin() + static_cast<ptrdiff_t>(from), length,
                  data.end() - static_cast<ptrdiff_t>(length));
      data[data.size() - 1 - rng.Below(length)] ^= 1;
    } else {
      for (size_t i = 0; i < length; i++) data.push_back(static_cast<uint8_t>(rng.Next() >> 32));
    }
  }
  data.resize(kBytes);
  return data;
}

// Pieces are chunked each by itself.
std::vector<Chunk> Chunks(std::span<const uint8_t> data, const Part& part) {
  std::vector<Chunk> chunks;
  size_t begin = part.begin;
  uint64_t hash = kHashBegin, rolling = 0;
  for (size_t at = part.begin; at < part.end; at++) {
    hash = HashStep(hash, data[at]);
    rolling = (rolling << 1) + data[at] * 0x9e3779b97f4a7c15u;  // the last 64 bytes
    const size_t length = at + 1 - begin;
    const bool ends = length >= kLeastChunk && (rolling >> 40 & kEndMask) == 0;
    if (!ends && length < kMostChunk && at + 1 < part.end) continue;
    chunks.push_back({begin, length, hash});
    begin = at + 1;
    hash = kHashBegin;
  }
  return chunks;
}

void Put(std::vector<uint8_t>& archive, uint64_t number) {
  for (int i = 0; i < 5; i++) archive.push_back(static_cast<uint8_t>(number >> (8 * i)));
}
// A chunk is a length, where it stands first, and there its bytes.
void PutChunk(std::vector<uint8_t>& archive, std::span<const uint8_t> data, const Chunk& chunk,
              size_t first) {
  Put(archive, chunk.length);
  Put(archive, first);
  if (first != chunk.begin) return;
  const auto bytes = data.subspan(chunk.begin, chunk.length);
  archive.insert(archive.end(), bytes.begin(), bytes.end());
}

// Places by hash; of several the first.
class alignas(64) Shard {
 public:
  void Clear() { places_.clear(); }
  void Note(uint64_t hash, size_t place) {
    std::lock_guard lock(mutex_);
    const auto [at, is_new] = places_.emplace(hash, place);
    if (!is_new) at->second = std::min(at->second, place);
  }
  size_t First(uint64_t hash) const { return places_.at(hash); }

 private:
  std::mutex mutex_;
  std::map<uint64_t, size_t> places_;
};

class Dedup : public Job {
 public:
  // One chunk after the other, known by their bytes.
  Dedup() : data_(MakeData()), shards_(kShards), chunks_(kPieces), parts_(kPieces) {
    std::map<std::string_view, size_t> first;
    for (size_t piece = 0; piece < kPieces; piece++) {
      for (const Chunk& chunk : Chunks(data_, PartOf(data_.size(), kPieces, piece))) {
        const std::string_view bytes(reinterpret_cast<const char*>(&data_[chunk.begin]),
                                     chunk.length);
        PutChunk(expected_, data_, chunk, first.emplace(bytes, chunk.begin).first->second);
      }
    }
  }

  void Repeat(Crew& crew) override {
    crew.Run(kPieces, [&](size_t piece, size_t) {
      chunks_[piece] = Chunks(data_, PartOf(data_.size(), kPieces, piece));
    });
    for (Shard& shard : shards_) shard.Clear();
    crew.Run(kPieces, [&](size_t piece, size_t) {
      for (const Chunk& chunk : chunks_[piece]) ShardOf(chunk).Note(chunk.hash, chunk.begin);
    });
    crew.Run(kPieces, [&](size_t piece, size_t) {
      parts_[piece].clear();
      for (const Chunk& chunk : chunks_[piece])
        PutChunk(parts_[piece], data_, chunk, ShardOf(chunk).First(chunk.hash));
    });
    result_.clear();
    for (const auto& part : parts_) result_.insert(result_.end(), part.begin(), part.end());
  }
  std::span<uint8_t> Input() override { return data_; }
  std::span<uint8_t> Result() override { return result_; }
  std::span<const uint8_t> Expected() const override { return expected_; }

 private:
  Shard& ShardOf(const Chunk& chunk) { return shards_[chunk.hash % kShards]; }

  std::vector<uint8_t> data_;
  std::vector<Shard> shards_;
  std::vector<std::vector<Chunk>> chunks_;
  std::vector<std::vector<uint8_t>> parts_;
  std::vector<uint8_t> result_, expected_;
};

}  // namespace

std::unique_ptr<Job> MakeDedup() { return std::make_unique<Dedup>(); }

}  // namespace jobs
