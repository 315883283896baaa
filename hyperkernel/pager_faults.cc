// How faults of the view become moves of pages: which, how many at once, and what makes room.
#include <algorithm>
#include <bit>

#include "fabric/urgent_thread.h"
#include "hyperkernel/fault_loop.h"
#include "hyperkernel/pager.h"

namespace dvm::hyperkernel {
namespace {

// Pages that nobody has: so many at once, then the rest of a greater block while who faulted runs
// on.
constexpr u64 kFirstTouchRun = 32;
constexpr u64 kFirstTouchBlock = 512;
constexpr u64 kWalkRun = 64;
constexpr u64 kClockRun = 32;

}  // namespace

void Pager::serve(u32 index) {
  const auto entered = options_.enter_thread ? options_.enter_thread() : nullptr;
  // A vCPU stands still until a fault is served, and another may be using the processor.
  fabric::make_urgent();
  serve_faults(memory_->shard(index).fd(), stop_, stopping_, [this](const uffd_msg& m) {
    const Status done = serve_message(m);
    if (!done.ok() && options_.failed) options_.failed(done.error());
    return true;
  });
}

// Faults at a frame that another node has guarded come by the descriptor that all know, of whatever
// shard the page is.
Status Pager::serve_message(const uffd_msg& m) {
  const auto& fault = m.arg.pagefault;
  const u64 page = (fault.address - memory_->local().address(0)) / kPageBytes;
  if (page >= coherence_->pages())
    return error("a fault outside the view of RAM at {:#x}", fault.address);
  Shard& shard = *shards_[page / memory_->shard_pages(0).count];
  const std::lock_guard guard(shard.lock);
  if (!options_.seen) return serve_fault(shard, fault.address, fault.flags);
  const DirEntry before = directory_->lookup(page).value_or(DirEntry{});
  const u64 begun = fabric::monotonic_ns();
  DVM_TRY(serve_fault(shard, fault.address, fault.flags));
  options_.seen({page, begun, fabric::monotonic_ns() - begun, before, fault.feat.ptid,
                 (fault.flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0});
  return {};
}

void Pager::sample(u64 page) {
  const auto entry = directory_->lookup(page);
  if (entry && entry->owned_by(self_) && entry->mover == 0) memory_->unmap({page, 1});
}

Status Pager::serve_fault(Shard& shard, u64 address, u64 flags) {
  const u64 page = (address - memory_->local().address(0)) / kPageBytes;
  auto entry = directory_->lookup(page);
  counters().faults.fetch_add(1, std::memory_order_relaxed);
  const bool writes = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;
  const bool from_elsewhere = comes_from_elsewhere(*entry);
  const u64 begun = fabric::monotonic_ns();
  if (entry->mode != PageMode::shared && memory_->maps_frame(page)) forget_spent(shard, page);
  if (from_elsewhere) {
    DVM_TRY(share_if_worth(shard, page, writes));
    entry = directory_->lookup(page);
  }
  // Who reads a page that nobody has will mostly be alone with it: it gets it whole.
  const Want want = writes || entry->at_home() ? Want::write : Want::read;
  const bool shared = entry->mode == PageMode::shared;
  const PageRun run = shared ? shared_run(shard, page) : run_to_move(shard, page, *entry);
  const bool first_touch = entry->at_home();
  DVM_ASSIGN(const bool there, bring(run, page, want));
  if (!there) return error("page {} is not to be had", page);
  if (shared) note_use(run);
  if (from_elsewhere && !shared) note_spent(shard, page, fabric::monotonic_ns() - begun);
  return first_touch ? bring_around(shard, run) : Status();
}

// Allocators come from above as well as from below: of pages that nobody has, those on both sides
// in the same block.
Status Pager::bring_around(const Shard& shard, PageRun run) {
  const u64 block = first_touch_block();
  const u64 first = std::max(run.first - run.first % block, shard.pages.first);
  const u64 end =
      std::min(run.first - run.first % block + block, shard.pages.first + shard.pages.count);
  PageRun before{run.first, 0}, behind{run.first + run.count, 0};
  for (; before.first > first && nobody_has(before.first - 1); --before.first) ++before.count;
  while (behind.first + behind.count < end && nobody_has(behind.first + behind.count))
    ++behind.count;
  for (const PageRun& part : {before, behind}) {
    if (part.count == 0) continue;
    if (const auto also = bring(part, part.first, Want::write); !also.ok()) return also.error();
  }
  return {};
}

bool Pager::nobody_has(u64 page) const {
  const auto entry = directory_->lookup(page);
  return entry && entry->at_home() && entry->mover == 0;
}

// Less where local memory is short: what is not used would push out what is.
u64 Pager::first_touch_block() const {
  return options_.local_pages < coherence_->pages() ? kFirstTouchRun : kFirstTouchBlock;
}

Result<bool> Pager::bring(PageRun run, u64 asked_for, Want want) {
  // What is mapped from the pool takes no local memory.
  const auto entry = directory_->lookup(asked_for);
  if (entry && entry->mode != PageMode::shared) DVM_TRY(make_room(run.count));
  for (u64 i = 0; i < run.count; ++i) aged_[run.first + i].store(0, std::memory_order_relaxed);
  auto moved = mover_->move(run, asked_for, want);
  if (moved.ok() && run.count > 1 && options_.mapped) options_.mapped(run);
  return moved;
}

bool Pager::comes_from_elsewhere(const DirEntry& entry) const {
  return entry.mode != PageMode::shared && (entry.nodes & ~only(self_)) != 0;
}

// More than one page when a walk goes on where the last run ended, or when nobody has the pages.
// All of them as the first: with the same nodes, nobody at work on them.
PageRun Pager::run_to_move(Shard& shard, u64 page, const DirEntry& entry) const {
  const bool walks = page == shard.next;
  shard.window = walks ? std::min(shard.window * 2, kWalkRun) : 1;
  u64 limit = shard.window;
  if (entry.at_home()) limit = std::max(limit, kFirstTouchRun - page % kFirstTouchRun);
  limit = std::min({limit, shard.pages.first + shard.pages.count - page, options_.local_pages / 4});
  PageRun run{page, 1};
  for (; run.count < limit; ++run.count) {
    const auto next = directory_->lookup(page + run.count);
    if (!next || next->mode != entry.mode || next->nodes != entry.nodes || next->mover != 0) break;
  }
  shard.next = page + run.count;
  return run;
}

// Second chance: what the hand passes is unmapped, so that touching it is a fault; what it passes
// again before that goes home.
Status Pager::make_room(u64 pages) {
  const u64 limit = options_.local_pages;
  if (limit >= coherence_->pages()) return {};
  const LocalMemory& local = memory_->local();
  if (local.pages_present() + pages <= limit) return {};
  const std::lock_guard guard(clock_);
  const u64 slack = std::min(limit / 8, kWalkRun);
  u64 passed = 0;  // twice round is enough, unless what it meets is in others' hands
  while (local.pages_present() + pages + slack > limit && passed < 4 * coherence_->pages()) {
    auto at = local.next_present(hand_);
    if (!at) at = local.next_present(0);
    if (!at) return {};
    PageRun run{*at, 1};
    while (run.count < kClockRun && run.first + run.count < coherence_->pages() &&
           aged_[run.first + run.count].load() == aged_[run.first].load())
      ++run.count;
    DVM_TRY(age(run));
    passed += run.count + (run.first > hand_ ? run.first - hand_ : 0);
    hand_ = run.first + run.count;
  }
  return {};
}

Status Pager::age(PageRun run) {
  const bool again = aged_[run.first].load() != 0;
  for (u64 i = 0; i < run.count; ++i) aged_[run.first + i].store(again ? 0 : 1);
  if (!again) {
    memory_->unmap(run);
    return {};
  }
  const auto moved = mover_->move(run, Want::evict);
  if (!moved.ok()) return moved.error();
  counters().evicted.fetch_add(run.count, std::memory_order_relaxed);
  return {};
}

}  // namespace dvm::hyperkernel
