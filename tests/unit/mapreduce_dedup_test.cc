// The parts that dedup is made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tools/mapreduce/apps/chunk_table.h"
#include "tools/mapreduce/apps/chunker.h"
#include "tools/mapreduce/apps/compressor.h"
#include "tools/mapreduce/apps/dedup_archive.h"
#include "tools/mapreduce/random.h"

namespace dvm::mapreduce {
namespace {

using Bytes = std::vector<std::byte>;

// Values below `kinds`, so that few kinds repeat themselves.
Bytes random_bytes(u64 size, u64 seed, u32 kinds = 256) {
  Random random(seed);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(kinds));
  return bytes;
}

std::vector<Bytes> cut(std::span<const std::byte> bytes) {
  std::vector<Bytes> chunks;
  while (!bytes.empty()) {
    const u64 length = first_chunk(bytes);
    chunks.emplace_back(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    bytes = bytes.subspan(length);
  }
  return chunks;
}

TEST(Chunker, ChunksAreWithinTheirBoundsAndCoverAll) {
  const Bytes bytes = random_bytes(1'000'000, 1);
  const auto chunks = cut(bytes);
  u64 sum = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    sum += chunks[i].size();
    EXPECT_LE(chunks[i].size(), kMostChunk);
    EXPECT_TRUE(chunks[i].size() >= kLeastChunk || i + 1 == chunks.size());
  }
  EXPECT_EQ(sum, bytes.size());
  EXPECT_GT(chunks.size(), bytes.size() / (8 * kKiB));
  EXPECT_EQ(cut(Bytes(100'000)).front().size(), kMostChunk) << "nothing in it ends a chunk";
  EXPECT_EQ(first_chunk(Bytes(5)), 5u);
}

TEST(Chunker, ContentIsCutAlikeWhereverItLies) {
  const Bytes bytes = random_bytes(200'000, 2);
  Bytes shifted = random_bytes(777, 3);
  shifted.insert(shifted.end(), bytes.begin(), bytes.end());
  auto chunks = cut(bytes), moved = cut(shifted);
  std::sort(moved.begin(), moved.end());
  const auto found = std::count_if(chunks.begin(), chunks.end(), [&](const Bytes& chunk) {
    return std::binary_search(moved.begin(), moved.end(), chunk);
  });
  EXPECT_GT(found, static_cast<std::ptrdiff_t>(chunks.size() * 3 / 4));
}

TEST(Chunker, HashesDifferWhenAByteOrTheLengthDoes) {
  Bytes bytes = random_bytes(1003, 4);
  const u64 hash = chunk_hash(bytes);
  EXPECT_EQ(chunk_hash(bytes), hash);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{1};
    EXPECT_NE(chunk_hash(bytes), hash);
    bytes[i] ^= std::byte{1};
  }
  EXPECT_NE(chunk_hash(Bytes(1003)), chunk_hash(Bytes(1004)));
  EXPECT_NE(chunk_hash({}), 0u);
}

TEST(ChunkTable, TheFirstPositionStandsWhateverTheOrder) {
  alignas(64) std::array<std::byte, 4096> memory{};
  ASSERT_LE(ChunkTable::bytes_for(100), memory.size());
  ChunkTable table(std::span<std::byte>(memory).first(ChunkTable::bytes_for(100)));
  EXPECT_FALSE(table.first(5));
  for (const u64 position : {70u, 30u, 90u, 30u}) {
    for (u64 hash = 1; hash <= 100; ++hash) table.tell(hash * 64, position + hash);
  }
  for (u64 hash = 1; hash <= 100; ++hash) EXPECT_EQ(table.first(hash * 64), 30 + hash);
  EXPECT_FALSE(table.first(63));
  table.tell(64, 0);
  EXPECT_EQ(table.first(64), 0u);
}

TEST(Compressor, EverythingComesBack) {
  for (const u64 size : {0u, 1u, 7u, 8u, 9u, 1000u, 16384u, 65535u}) {
    for (const u32 kinds : {1u, 2u, 4u, 256u}) {
      const Bytes bytes = random_bytes(size, size + kinds, kinds);
      const Bytes packed = pack(bytes);
      Bytes back = {std::byte{9}};  // it appends
      ASSERT_TRUE(unpack(packed, size, back).ok()) << size << " bytes of " << kinds << " kinds";
      back.erase(back.begin());
      EXPECT_EQ(back, bytes);
    }
  }
  EXPECT_LT(pack(Bytes(10'000)).size(), 100u);
}

TEST(Compressor, RubbishIsRefusedAndNothingIsReadOutside) {
  const Bytes bytes = random_bytes(2000, 7, 3);
  const Bytes packed = pack(bytes);
  Random random(8);
  for (int i = 0; i < 20'000; ++i) {
    Bytes broken = packed;
    for (u32 n = random.below(4) + 1; n != 0; --n)
      broken[random.below(static_cast<u32>(broken.size()))] = static_cast<std::byte>(random.next());
    broken.resize(random.below(static_cast<u32>(broken.size() + 1)));
    Bytes back;
    const bool whole = unpack(broken, bytes.size(), back).ok();
    EXPECT_TRUE(!whole || back.size() == bytes.size());
    EXPECT_LE(back.size(), bytes.size());
  }
}

TEST(DedupArchive, RecordsOfEachKindComeBackAndBrokenOnesAreNamed) {
  const Bytes plain = random_bytes(3000, 9), packed(5000);
  Bytes archive(20'000);
  ResultWriter writer(archive);
  write_content(writer, plain);
  write_content(writer, packed);
  write_again(writer, 1000, 500);
  archive.resize(writer.size());
  const auto whole = read_archive(archive);
  ASSERT_TRUE(whole.ok());
  Bytes expected = plain;
  expected.insert(expected.end(), packed.begin(), packed.end());
  expected.insert(expected.end(), plain.begin() + 500, plain.begin() + 1500);
  EXPECT_EQ(whole.value(), expected);

  Bytes cut_off(archive.begin(), archive.end() - 1);
  EXPECT_NE(read_archive(cut_off).error().message.find("names what does not come before it"),
            std::string::npos);
  Bytes unknown = archive;
  unknown[0] = std::byte{77};
  EXPECT_EQ(read_archive(unknown).error().message,
            "archive: the record at 0: kind 77 is not known");
  Bytes ahead(100);
  ResultWriter early(ahead);
  write_again(early, 10, 0);
  ahead.resize(early.size());
  EXPECT_FALSE(read_archive(ahead).ok());
}

}  // namespace
}  // namespace dvm::mapreduce
