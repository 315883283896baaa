#include "tools/mapreduce/apps/compressor.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace dvm::mapreduce {
namespace {

constexpr u64 kLeastMatch = 8;  // a shorter one is no gain over its sequence
constexpr int kTries = 24;
constexpr u32 kHashBits = 12;
constexpr u64 kHead = 3 * sizeof(u16);

// Looks for earlier places that begin with the same four bytes, newest first.
class MatchFinder {
 public:
  explicit MatchFinder(std::span<const std::byte> bytes)
      : bytes_(bytes), before_(bytes.size(), kNone) {
    newest_.fill(kNone);
  }

  struct Match {
    u64 length = 0, distance = 0;
  };
  Match longest(u64 at) const {
    Match best;
    if (at + kLeastMatch > bytes_.size()) return best;
    u32 there = newest_[key(at)];
    for (int i = 0; i < kTries && there != kNone; ++i, there = before_[there]) {
      if (at + best.length < bytes_.size() &&
          bytes_[there + best.length] != bytes_[at + best.length])
        continue;
      const u64 length = common(there, at);
      if (length > best.length) best = {length, at - there};
    }
    return best.length >= kLeastMatch ? best : Match{};
  }
  void remember(u64 at) {
    if (at + sizeof(u32) > bytes_.size()) return;
    u32& newest = newest_[key(at)];
    before_[at] = newest;
    newest = static_cast<u32>(at);
  }

 private:
  static constexpr u32 kNone = ~0u;

  u32 key(u64 at) const {
    u32 four = 0;
    std::memcpy(&four, &bytes_[at], sizeof(four));
    return (four * 2654435761u) >> (32 - kHashBits);
  }
  u64 common(u64 a, u64 b) const {
    u64 length = 0;
    while (b + length < bytes_.size() && bytes_[a + length] == bytes_[b + length]) ++length;
    return length;
  }

  const std::span<const std::byte> bytes_;
  std::array<u32, 1u << kHashBits> newest_;
  std::vector<u32> before_;
};

void write_sequence(std::vector<std::byte>& to, std::span<const std::byte> literals, u64 length,
                    u64 distance) {
  const std::array<u16, 3> head = {static_cast<u16>(literals.size()), static_cast<u16>(length),
                                   static_cast<u16>(distance)};
  const auto bytes = std::as_bytes(std::span(head));
  to.insert(to.end(), bytes.begin(), bytes.end());
  to.insert(to.end(), literals.begin(), literals.end());
}

}  // namespace

std::vector<std::byte> pack(std::span<const std::byte> bytes) {
  std::vector<std::byte> packed;
  packed.reserve(bytes.size() + kHead);
  MatchFinder finder(bytes);
  u64 literals = 0;  // the first byte not yet written
  for (u64 at = 0; at < bytes.size();) {
    const auto match = finder.longest(at);
    if (match.length == 0) {
      finder.remember(at++);
      continue;
    }
    write_sequence(packed, bytes.subspan(literals, at - literals), match.length, match.distance);
    for (const u64 end = at + match.length; at < end; ++at) finder.remember(at);
    literals = at;
  }
  if (literals < bytes.size()) write_sequence(packed, bytes.subspan(literals), 0, 0);
  return packed;
}

Status unpack(std::span<const std::byte> packed, u64 length, std::vector<std::byte>& to) {
  const u64 begin = to.size(), end = begin + length;
  while (!packed.empty()) {
    std::array<u16, 3> head;
    if (packed.size() < kHead) return error("packed chunk: a sequence is cut off");
    std::memcpy(head.data(), packed.data(), kHead);
    packed = packed.subspan(kHead);
    const u64 literals = head[0], match = head[1], distance = head[2];
    if (literals > packed.size()) return error("packed chunk: its literals are cut off");
    if (literals + match > end - to.size())
      return error("packed chunk: is longer than {} bytes", length);
    to.insert(to.end(), packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(literals));
    packed = packed.subspan(literals);
    if (match != 0 && (distance == 0 || distance > to.size() - begin))
      return error("packed chunk: a match lies before its beginning");
    // One by one: a match may reach into what it makes.
    for (u64 i = 0; i < match; ++i) to.push_back(to[to.size() - distance]);
  }
  if (to.size() != end) return error("packed chunk: is shorter than {} bytes", length);
  return {};
}

}  // namespace dvm::mapreduce
