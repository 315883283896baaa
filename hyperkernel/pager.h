// Software coherence of one node: threads that serve the faults of its view, that keep its local
// memory within its limit, and that hold the memory of the other nodes.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "hyperkernel/page_mover.h"
#include "hyperkernel/region_clock.h"
#include "hyperkernel/served_fault.h"
#include "hyperkernel/share_policy.h"

namespace dvm::hyperkernel {

struct PagerOptions {
  u64 local_pages = 0;  // of local memory, at least kMinLocalPages; 0: as the pool's record says
  u32 shards = 1;       // threads that serve faults
  // On each of the pager's threads, around its work: registers it with the fabric.
  std::function<std::shared_ptr<void>()> enter_thread;
  // These pages have been mapped in the view, writable or not. From a pager's thread, which must
  // not touch the view nor wait for who does.
  std::function<void(PageRun)> mapped;
  // From a pager's thread, after the fault's thread was woken.
  std::function<void(const ServedFault&)> seen;
  // The node cannot go on: a damaged directory, or no memory. From a pager's thread.
  std::function<void(const Error&)> failed;
  // So many pages of a dead node were brought home here, of these `lost` without their content.
  std::function<void(u32 dead, u64 pages, u64 lost)> recovered;
};
inline constexpr u64 kMinLocalPages = 256;
inline constexpr u64 kShareBlock = 64;  // pages that go into the coherent region together, at most

class Pager {
 public:
  // As node `self`, an instance of `instances`. Returns when every living node holds this one's
  // memory, which is what lets it own pages. The view of RAM is then at view(), and faults in it
  // are served until the destructor; by then nothing may touch it any more.
  static Result<std::unique_ptr<Pager>> start(const fabric::Pool& pool,
                                              const fabric::InstanceTable& instances,
                                              fabric::InstanceId instance, u32 self,
                                              PagerOptions options);
  ~Pager();
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;

  std::byte* view() const { return memory_->view(); }
  PageMover& mover() { return *mover_; }
  // Coherence-aware scheduling: nothing of the guest runs here between rest() and begin().
  Status begin();
  void rest() { coherence_->rest(self_); }

  // The pages that are this node's now.
  std::vector<PageRun> owned() const;
  // Brings home what this node has. Nothing here touches the view meanwhile.
  Status leave();
  // What a dead node owned is at home, its entries name it no more. Idempotent, by any number of
  // living nodes; by itself within 0.1 s of the node's fencing, or when told to look.
  Status recover(u32 dead);
  // The next to touch this page here faults, if it is this node's alone: so it is seen to be in
  // use.
  void sample(u64 page);
  void look_at_peers() { fabric::ring(coherence_->changed()); }

 private:
  struct Shard {
    std::thread thread;
    PageRun pages;
    std::mutex lock;   // for all below
    u64 next = ~0ull;  // the page after the last run: a walk goes on there
    u64 window = 1;
    SharePolicy policy{kShareBlock};
    struct Spent {
      u64 page = ~0ull;
      u64 ns = 0;
    };
    std::array<Spent, 4096> spent;  // on pages that came from elsewhere; those of one slot push
                                    // each other out
    RegionUse region;               // as of
    u64 region_seen_ns = 0;
  };

  Pager() = default;
  Status publish(fabric::InstanceId instance);
  Status wait_until_held();
  void serve(u32 index);
  Status serve_message(const uffd_msg& message);
  Status serve_fault(Shard& shard, u64 address, u64 flags);
  bool comes_from_elsewhere(const DirEntry& entry) const;
  RegionUse region_use(Shard& shard) const;
  void note_spent(Shard& shard, u64 page, u64 ns);
  void forget_spent(Shard& shard, u64 page);
  void note_use(PageRun run);
  void make_room_in_region();
  Status share_if_worth(Shard& shard, u64 page, bool writes);
  bool may_go_along(u64 page) const;
  PageRun shared_run(const Shard& shard, u64 page) const;
  PageRun run_to_move(Shard& shard, u64 page, const DirEntry& entry) const;
  Status bring_around(const Shard& shard, PageRun run);
  bool nobody_has(u64 page) const;
  u64 first_touch_block() const;
  Result<bool> bring(PageRun run, u64 asked_for, Want want);
  Status make_room(u64 pages);
  Status age(PageRun run);
  void watch_peers();
  void recover_stopped();
  u64 count_named(PageRun run, u32 node) const;
  PageCounters& counters() const { return coherence_->node(self_).counters; }

  PagerOptions options_;
  u32 self_ = 0;
  std::optional<PageDirectory> directory_;
  std::optional<Coherence> coherence_;
  std::unique_ptr<NodeMemory> memory_;
  std::unique_ptr<Peers> peers_;
  std::optional<PageMover> mover_;
  std::optional<RegionClock> region_clock_;
  std::atomic<u64> room_wanted_{0};  // frames
  std::vector<std::unique_ptr<Shard>> shards_;
  std::thread watcher_;
  Fd stop_;  // an eventfd
  std::atomic<bool> stopping_{false};
  std::mutex clock_;
  u64 hand_ = 0;
  std::vector<std::atomic<u8>> aged_;  // 1: passed by the hand, and not touched since
};

}  // namespace dvm::hyperkernel
