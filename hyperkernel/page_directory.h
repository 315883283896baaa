// Where each guest page is. gfn is not frame: a guest page is found only through its entry here.
#pragma once

#include <atomic>
#include <optional>
#include <span>

#include "fabric/pool.h"
#include "fabric/types.h"

namespace dvm::hyperkernel {

// Shared: mapped straight from the pool by whoever needs it. The other modes of a page (owned by
// one node, replicated read-only) use the same entry.
enum class PageMode : u8 { absent = 0, shared = 1, owned = 2, replicated = 3 };

// One 64-bit word, so that every transition is one compare-and-swap and death leaves the old entry
// or the new one: frame number 36 bits | mode 2 | owner node 10 | epoch 16.
struct DirEntry {
  u64 frame = 0;  // in units of 4 KiB from the start of the frames region
  PageMode mode = PageMode::absent;
  u16 owner = 0;  // node; meaningful when owned
  u16 epoch = 0;

  static constexpr u64 kFrameBits = 36;  // 256 TiB of frames
  constexpr u64 packed() const {
    return frame | (static_cast<u64>(mode) << 36) | (static_cast<u64>(owner & 0x3ff) << 38) |
           (static_cast<u64>(epoch) << 48);
  }
  static constexpr DirEntry unpack(u64 word) {
    return {word & ((1ull << kFrameBits) - 1), static_cast<PageMode>((word >> 36) & 3),
            static_cast<u16>((word >> 38) & 0x3ff), static_cast<u16>(word >> 48)};
  }
  friend constexpr bool operator==(const DirEntry&, const DirEntry&) = default;
};

inline constexpr u32 kPageDirectoryVersion = 1;

// A run of guest pages that lie side by side in the frames region.
struct FrameRun {
  u64 gfn;
  u64 frame;
  u64 pages;
};

// The directory of RAM pages 0..n-1. (An index counts pages of RAM: the hole below 4 GiB has
// no entries; RamPart says which index a guest address has.) Threads: any.
class PageDirectory {
 public:
  static Result<PageDirectory> of(const fabric::Pool& pool);
  // `pool_offset`: of the first word, for messages.
  explicit PageDirectory(std::span<std::atomic<u64>> words, u64 pool_offset = 0)
      : words_(words), pool_offset_(pool_offset) {}

  u64 pages() const { return words_.size(); }
  std::optional<DirEntry> lookup(u64 index) const;
  // Moves an entry from `expected` to `desired` in one step; false if it was something else.
  bool transition(u64 index, const DirEntry& expected, const DirEntry& desired);
  // The plain start: page i in frame i, shared.
  void fill_plain();
  // The longest run from `index` on whose frames are consecutive, at most `limit` pages. Error if
  // an entry is absent or its frame lies outside `frame_count`: a damaged directory is never
  // followed.
  Result<FrameRun> run_at(u64 index, u64 limit, u64 frame_count) const;

 private:
  std::span<std::atomic<u64>> words_;
  u64 pool_offset_;
};

}  // namespace dvm::hyperkernel
