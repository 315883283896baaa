// A node's local memory and its view of guest RAM. Local frames are a memfd in which page i of RAM
// has its place; where there is none, the file has a hole, and touching the view faults.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "fabric/mapping.h"
#include "hyperkernel/coherence_record.h"
#include "hyperkernel/userfault.h"

namespace dvm::hyperkernel {

struct PageRun {
  u64 first = 0;
  u64 count = 0;
};

// The local memory of any node on this host, one's own or another's: what can be done to it without
// asking, even if that node hangs or is dead. Threads: any.
class LocalMemory {
 public:
  LocalMemory() = default;
  LocalMemory(Fd file, Userfault faults, u64 view)
      : file_(std::move(file)), faults_(std::move(faults)), view_(view) {}
  // That of the process in `record`, by pidfd_getfd(2). Error: it is gone, or not to be reached.
  static Result<LocalMemory> reach(const NodeRecordOfMemory& record);

  // From its return on nobody writes to these pages of the view.
  Status protect(PageRun run) const;
  // The same where they are frames of the pool, which are not watched until then.
  Status guard(PageRun run) const;
  // The content of the pages that are there; `to` is where the run's first page goes. Returns how
  // many there were. Precondition: protected, or the node is stopped.
  Result<u64> read(PageRun run, std::byte* to) const;
  // The pages are neither there nor mapped.
  Status discard(PageRun run) const;
  bool has(u64 page) const;
  u64 pages_present() const;  // a system call
  // The first page from `from` on that is there.
  std::optional<u64> next_present(u64 from) const;

  u64 address(u64 page) const { return view_ + page * kPageBytes; }
  const Fd& file() const { return file_; }
  const Userfault& faults() const { return faults_; }

 private:
  Fd file_;
  Userfault faults_;
  u64 view_ = 0;
};

// This node's own. The view stays at its address as long as it lives.
class NodeMemory {
 public:
  // `shards`: of the view, each with a descriptor for its faults; faults of all but the first are
  // read from `shard(i)`.
  static Result<std::unique_ptr<NodeMemory>> make(const fabric::Pool& pool, u64 pages, u32 shards);

  const LocalMemory& local() const { return local_; }
  std::byte* view() const { return view_.data(); }
  const Userfault& shard(u32 index) const {
    return index == 0 ? local_.faults() : shards_[index - 1];
  }
  u32 shards() const { return static_cast<u32>(shards_.size()) + 1; }
  PageRun shard_pages(u32 index) const;

  // Maps pages that are not there from home, or those that are there again.
  Status install(PageRun run, const std::byte* home, bool writable) const;
  // Maps pages of zeroes, writable. False, and nothing certain done: some are there; install them.
  bool install_zeroes(PageRun run) const;
  // Maps frames of the pool itself, which lie side by side from this offset on. They stay mapped
  // until a page is installed in the place of one, writable.
  Status map_frames(PageRun run, u64 pool_offset) const;
  bool maps_frame(u64 page) const { return frames_[page].load(std::memory_order_relaxed) != 0; }
  // The page stays, but the next to touch it faults: that is how it is seen to be in use.
  void unmap(PageRun run) const;

 private:
  NodeMemory() = default;
  Status install_part(PageRun run, const std::byte* home, bool writable) const;
  Status install_one(u64 page, const std::byte* home, bool writable) const;
  Status install_over_frame(u64 page, const std::byte* home) const;
  void wake(PageRun run) const;
  const Userfault& faults_of(u64 page) const {
    return shard(static_cast<u32>(page / shard_pages_));
  }

  const fabric::Pool* pool_ = nullptr;
  u64 pages_ = 0;
  u64 shard_pages_ = 0;
  LocalMemory local_;
  std::vector<Userfault> shards_;
  Mapping view_;
  mutable std::vector<std::atomic<u8>> frames_;  // 1: the view maps the pool there
};

}  // namespace dvm::hyperkernel
