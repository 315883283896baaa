// Where each guest page is. gfn is not frame: a guest page is found only through its entry here.
#pragma once

#include <atomic>
#include <optional>
#include <span>

#include "fabric/pool.h"
#include "fabric/types.h"

namespace dvm::hyperkernel {

inline constexpr u32 kMaxNodes = 16;
using NodeSet = u16;  // a bit for each node

constexpr NodeSet only(u32 node) { return static_cast<NodeSet>(1u << node); }

// shared: mapped straight from the pool's frame by whoever needs it.
// owned: one node has it, writable, in its local memory; if it has no copy there, the frame holds.
// replicated: the frame holds, and `nodes` may have read-only copies. Nobody: the page is at home.
// shared with `nodes`: these still have copies of before, which nobody writes until they are gone.
enum class PageMode : u8 { absent = 0, shared = 1, owned = 2, replicated = 3 };

// One 64-bit word, so that every transition is a chain of single compare-and-swaps and death leaves
// the old entry or the new one: frame 32 bits | mode 2 | nodes 16 | mover 5 | epoch 9.
//
// `mover` is the node that carries out a transition, plus one; 0: nobody. Only the mover changes
// the entry, until it is fenced. At every moment the rest of the entry says where the page's valid
// content is, so that whoever comes after a dead mover goes on from it (coherence.h).
struct DirEntry {
  u64 frame = 0;  // the page's home, in units of 4 KiB from the start of the frames region
  PageMode mode = PageMode::absent;
  NodeSet nodes = 0;  // owned: the one owner. replicated: all who may have a copy, or more
  u8 mover = 0;
  u16 epoch = 0;

  static constexpr u32 kFrameBits = 32;  // 16 TiB of frames
  static constexpr u32 kMoverBits = 5;
  static constexpr u32 kEpochBits = 9;
  constexpr u64 packed() const {
    return (frame & ((1ull << kFrameBits) - 1)) | (static_cast<u64>(mode) << 32) |
           (static_cast<u64>(nodes) << 34) | (static_cast<u64>(mover & 0x1f) << 50) |
           (static_cast<u64>(epoch & 0x1ff) << 55);
  }
  static constexpr DirEntry unpack(u64 word) {
    return {word & ((1ull << kFrameBits) - 1), static_cast<PageMode>((word >> 32) & 3),
            static_cast<NodeSet>(word >> 34), static_cast<u8>((word >> 50) & 0x1f),
            static_cast<u16>(word >> 55)};
  }
  constexpr bool at_home() const { return mode == PageMode::replicated && nodes == 0; }
  constexpr bool owned_by(u32 node) const { return mode == PageMode::owned && nodes == only(node); }
  // Whether the fields can stand together: what anybody writes, they do.
  constexpr bool sound() const {
    if (mode == PageMode::absent || mover > kMaxNodes) return false;
    if (mode == PageMode::owned) return nodes != 0 && (nodes & (nodes - 1)) == 0;
    return mode == PageMode::replicated || nodes == 0 || mover != 0;
  }
  friend constexpr bool operator==(const DirEntry&, const DirEntry&) = default;
};
static_assert(DirEntry::kFrameBits + 2 + kMaxNodes + DirEntry::kMoverBits + DirEntry::kEpochBits ==
              64);

inline constexpr u32 kPageDirectoryVersion = 3;

// A run of guest pages that lie side by side in the frames region.
struct FrameRun {
  u64 gfn;
  u64 frame;
  u64 pages;
};

// Region `page_directory`: a word for each page, which is the packed entry exclusive-or the plain
// one (page i in frame i, shared), so that a region that nobody has touched is a plain directory;
// then one that is set before the first entry changes. To make a machine, and to map it, costs no
// more the more pages it has, as long as it is not set.
u64 page_directory_bytes(u64 pages);

// The directory of RAM pages 0..n-1. (An index counts pages of RAM: the hole below 4 GiB has
// no entries; RamPart says which index a guest address has.) Threads: any.
class PageDirectory {
 public:
  static Result<PageDirectory> of(const fabric::Pool& pool);
  // `words`: as in the region. `pool_offset`: of the first word, for messages.
  explicit PageDirectory(std::span<std::atomic<u64>> words, u64 pool_offset = 0)
      : words_(words.first(words.size() - 1)), changed_(&words.back()), pool_offset_(pool_offset) {}

  u64 pages() const { return words_.size(); }
  std::optional<DirEntry> lookup(u64 index) const;
  // Moves an entry from `expected` to `desired` in one step; false if it was something else.
  bool transition(u64 index, const DirEntry& expected, const DirEntry& desired);
  // The start for software coherence: the first `count` pages are at home, with no copies.
  // Precondition: no entry has changed yet.
  void begin_at_home(u64 count);
  // Plain again, whatever is in it.
  void reset();
  // False: each page is in the frame of its number, shared; nobody has to look.
  bool has_changed() const { return changed_->load(std::memory_order_acquire) != 0; }
  // The longest run from `index` on whose frames are consecutive, at most `limit` pages. Error if
  // an entry is not sound or its frame lies outside `frame_count`: a damaged directory is never
  // followed.
  Result<FrameRun> run_at(u64 index, u64 limit, u64 frame_count) const;
  // All entries, also those that nobody looks at yet.
  Status check(u64 frame_count) const;

 private:
  static constexpr u64 plain(u64 index) {
    return DirEntry{.frame = index, .mode = PageMode::shared}.packed();
  }

  Status check_entry(u64 index, u64 frame_count) const;

  std::span<std::atomic<u64>> words_;
  std::atomic<u64>* changed_;
  u64 pool_offset_;
};

}  // namespace dvm::hyperkernel
