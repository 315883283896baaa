#include "tools/mapreduce/apps/dedup.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "tools/mapreduce/apps/chunk_table.h"
#include "tools/mapreduce/apps/chunker.h"
#include "tools/mapreduce/apps/compressor.h"
#include "tools/mapreduce/apps/dedup_archive.h"
#include "tools/mapreduce/job_view.h"
#include "tools/mapreduce/random.h"

namespace dvm::mapreduce {
namespace {

struct Chunk {
  u64 hash = 0;
  u64 length = 0;
};

static_assert(kMostChunk <= kMostPacked);

// Text of few words, which packs well.
void write_text(std::span<std::byte> to, Random& random) {
  const u64 words = random.next();
  for (u64 at = 0; at < to.size();) {
    Random word(words + random.below(400));
    const u64 letters = 2 + word.below(10);
    for (u64 i = 0; i < letters && at < to.size(); ++i)
      to[at++] = static_cast<std::byte>('a' + word.below(26));
    if (at < to.size()) to[at++] = std::byte{' '};
  }
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

u64 Dedup::most_chunks() const { return size_.segment / kLeastChunk + 1; }

u64 Dedup::table_bytes() const {
  return ChunkTable::bytes_for(most_chunks() * (size_.bytes / size_.segment));
}

std::vector<Phase> Dedup::phases() const {
  const auto segments = static_cast<u32>(size_.bytes / size_.segment);
  return {{"chunk", segments, sizeof(Chunk) * most_chunks()},
          {"pack", segments, size_.segment + most_chunks() * most_record_bytes(0)}};
}

// New pieces, and copies of earlier ones with a byte changed here and there.
void Dedup::make_input(std::span<std::byte> input, u64 seed) const {
  Random random(seed);
  for (u64 at = 0; at < input.size();) {
    const u64 bytes = std::min<u64>(8 * kKiB + random.below(120 * kKiB), input.size() - at);
    const auto piece = input.subspan(at, bytes);
    if (at > bytes && random.below(2) == 0) {
      const u64 from = random.below(static_cast<u32>(at - bytes));
      std::memcpy(piece.data(), &input[from], bytes);
      piece[random.below(static_cast<u32>(bytes))] ^= std::byte{1};
    } else {
      write_text(piece, random);
    }
    at += bytes;
  }
}

u64 Dedup::run(u32 phase, u32 task, const JobView& job, std::span<std::byte> result) const {
  return phase == 0 ? cut(task, job, result) : pack_segment(task, job, result);
}

u64 Dedup::cut(u32 segment, const JobView& job, std::span<std::byte> result) const {
  ChunkTable table(job.table());
  ResultWriter writer(result);
  u64 at = segment * size_.segment;
  for (auto rest = job.input().subspan(at, size_.segment); !rest.empty();) {
    const u64 length = first_chunk(rest);
    const u64 hash = chunk_hash(rest.first(length));
    table.tell(hash, at);
    writer.value(Chunk{hash, length});
    rest = rest.subspan(length);
    at += length;
  }
  return writer.size();
}

u64 Dedup::pack_segment(u32 segment, const JobView& job, std::span<std::byte> result) const {
  const ChunkTable table(job.table());
  const auto input = job.input();
  ResultWriter writer(result);
  u64 at = segment * size_.segment;
  for (const Chunk& chunk : values_in<Chunk>(job.result(0, segment))) {
    const auto content = input.subspan(at, chunk.length);
    const u64 first = table.first(chunk.hash).value_or(at);
    // What only has the same hash is packed as well.
    if (first < at && same(input.subspan(first, chunk.length), content)) {
      write_again(writer, chunk.length, first);
    } else {
      write_content(writer, content);
    }
    at += chunk.length;
  }
  return writer.size();
}

Status Dedup::check(std::span<const std::byte> input, std::span<const std::byte> output) const {
  DVM_ASSIGN(const auto whole, read_archive(output));
  if (!same(whole, input)) return error("dedup: the archive does not give back the input");
  std::unordered_map<u64, u64> first;  // by hash
  std::vector<std::byte> archive(output.size() + most_record_bytes(0));
  ResultWriter writer(archive);
  for (u64 at = 0; at < input.size();) {
    const u64 left = size_.segment - at % size_.segment;
    const u64 length = first_chunk(input.subspan(at, left));
    const auto content = input.subspan(at, length);
    const auto known = first.try_emplace(chunk_hash(content), at);
    if (!known.second && same(input.subspan(known.first->second, length), content)) {
      write_again(writer, length, known.first->second);
    } else {
      write_content(writer, content);
    }
    at += length;
  }
  if (!same(std::span(archive).first(std::min<u64>(writer.size(), archive.size())), output))
    return error("dedup: the archive is not what sequential code makes");
  return {};
}

}  // namespace dvm::mapreduce
