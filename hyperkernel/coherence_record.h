// What software coherence keeps in the pool beside the page directory: how to reach each node's
// local memory, which frames of the coherent region are taken, and what resting nodes have to
// discard. All fabric state: it is never rolled back.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <span>
#include <vector>

#include "fabric/doorbell.h"
#include "fabric/instance.h"
#include "fabric/pool.h"
#include "hyperkernel/page_directory.h"

namespace dvm::hyperkernel {

struct PageCounters {
  std::atomic<u64> faults;     // that reached a handler
  std::atomic<u64> taken;      // pages whose content came from another node
  std::atomic<u64> copied;     // read-only copies made
  std::atomic<u64> evicted;    // for room
  std::atomic<u64> shared;     // put into shared mode here
  std::atomic<u64> recovered;  // pages that dead nodes owned, brought home here
  std::atomic<u64> lost;       // of these, whose content could not be reached
  std::atomic<u64> unshared;   // taken out of the coherent region here
};

// One node's memory. `instance` is stored last and is 0 while the rest is not yet, or no longer, to
// be used; a node that dies in the middle is nobody.
struct alignas(64) NodeRecordOfMemory {
  std::atomic<u64> instance;  // packed InstanceId
  std::atomic<i32> pid;
  std::atomic<i32> file;       // descriptors of that process: its local frames,
  std::atomic<i32> userfault;  // and its page faults
  std::atomic<u32> runs;       // 1: runs vCPUs or device work of the guest. 0: marks are enough
  std::atomic<u64> view;       // address of its first page of RAM
  std::atomic<u64> held_by;    // nodes that hold its frames, should it die
  u64 reserved[3];
  PageCounters counters;
};
static_assert(sizeof(NodeRecordOfMemory) == 128);

// A frame of the coherent region: 0, or the page in it plus one (low 32 bits) and that page's home.
// Taken before the directory's entry names the frame: one whose page's entry does not is swept.
struct SharedFrame {
  std::atomic<u64> word;
};
inline constexpr u64 kFrameGroup = 64;  // frames of so many pages are kept together

// Of a group of frames: who has mapped them since the clock's hand passed, a bit each, and whether
// it has passed (kPassed). Advice: whatever is in it, only the choice of what leaves the region
// suffers.
struct FrameUse {
  static constexpr u32 kPassed = 1u << 31;
  std::atomic<u32> word;
};
inline constexpr u64 kHugeRun = kHugePageBytes / kPageBytes;

struct CoherenceRecord {
  u64 pages;        // the first of the directory, which change hands; homes: frames [0, pages)
  u64 first_frame;  // frames [first_frame, first_frame + shared_frames) are the coherent region
  u64 shared_frames;
  u64 local_pages;           // each node's local memory; 0: as much as there is RAM
  fabric::Doorbell changed;  // a node's memory has come, is held, or is to be recovered
  u32 reserved[7];
  std::array<NodeRecordOfMemory, kMaxNodes> nodes;
  // SharedFrame[shared_frames]; FrameUse for each group of them, an even number; for each node a
  // bit a page: its marks.
};
static_assert(sizeof(CoherenceRecord) == 64 + 128 * kMaxNodes);
inline constexpr u32 kCoherenceVersion = 2;

u64 coherence_region_bytes(u64 pages, u64 shared_frames);

struct CoherenceLayout {
  u64 pages = 0;
  u64 first_frame = 0;
  u64 shared_frames = 0;
  u64 local_pages = 0;
};

// The region, opened. Threads: any.
class Coherence {
 public:
  // Once, by the maker of the pool.
  static Status format(const fabric::Pool& pool, const CoherenceLayout& layout);
  // Error: the region is not there, too small for what it says, or its frames are not in the pool.
  static Result<Coherence> of(const fabric::Pool& pool);

  NodeRecordOfMemory& node(u32 index) const { return record_->nodes[index]; }
  fabric::Doorbell& changed() const { return record_->changed; }
  u64 pages() const { return record_->pages; }
  u64 local_pages() const { return record_->local_pages; }
  u64 first_frame() const { return record_->first_frame; }
  u64 shared_frames() const { return frames_.size(); }

  // A free frame for `page`, whose home is noted; ~0: none is left. Pages side by side get frames
  // side by side as long as there is room.
  u64 take_frame(u64 page, u64 home) const;
  // The home of `page`, if this frame of the region was taken for it.
  std::optional<u64> home_of(u64 page, u64 frame) const;
  // Of who took it, when nobody maps it any more.
  void free_frame(u64 frame) const;
  // Frees what movers that died had taken. `in_use(page, frame)`: the directory, or a living
  // mover's page.
  template <typename InUse>
  void sweep_frames(InUse in_use) const {
    for (u64 i = 0; i < frames_.size(); ++i) {
      u64 word = frames_[i].word.load(std::memory_order_acquire);
      if (word != 0 && !in_use((word & 0xffff'ffff) - 1, record_->first_frame + i))
        frames_[i].word.compare_exchange_strong(word, 0);
    }
  }
  u64 frames_in_use() const;

  u64 frame_groups() const { return uses_.size(); }
  // The pages that these frames were taken for, at most kFrameGroup.
  std::vector<u64> pages_of_group(u64 group) const;
  // `node` has mapped frames from `frame` on.
  void note_use(u64 frame, u64 count, u32 node) const;
  // The hand passes: what was noted since it did so before, kPassed if it did.
  u32 pass(u64 group) const { return uses_[group].word.exchange(FrameUse::kPassed); }

  // The node's copy of `page` is old. True: it runs nothing, and will look at its marks before it
  // does. False: it may be running.
  bool mark(u32 node, u64 page) const;
  // Before anything of the guest runs on `node`: calls discard(page) for what is marked.
  template <typename Discard>
  void begin_to_run(u32 node, Discard discard) const {
    record_->nodes[node].runs.store(1, std::memory_order_seq_cst);
    const auto marks = marks_of(node);
    for (u64 i = 0; i < marks.size(); ++i) {
      if (marks[i].load(std::memory_order_seq_cst) == 0) continue;
      for (u64 bits = marks[i].exchange(0, std::memory_order_seq_cst); bits != 0;
           bits &= bits - 1) {
        discard(i * 64 + static_cast<u64>(__builtin_ctzll(bits)));
      }
    }
  }
  // Nothing of the guest runs on `node` any more, nor touches its view.
  void rest(u32 node) const { record_->nodes[node].runs.store(0, std::memory_order_seq_cst); }

 private:
  bool take(u64 index, u64 page, u64 home) const;
  bool may_join(u64 first, u64 page) const;
  std::span<std::atomic<u64>> marks_of(u32 node) const {
    return marks_.subspan(node * marks_per_node_, marks_per_node_);
  }

  CoherenceRecord* record_ = nullptr;
  std::span<SharedFrame> frames_;
  std::span<FrameUse> uses_;
  std::span<std::atomic<u64>> marks_;
  u64 marks_per_node_ = 0;
};

}  // namespace dvm::hyperkernel
