// What goes into the coherent region at a fault, and how it is mapped.
#include <algorithm>

#include "hyperkernel/pager.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kRegionSeenNs = 20'000'000;

}  // namespace

void Pager::note_spent(Shard& shard, u64 page, u64 ns) {
  auto& spent = shard.spent[page % shard.spent.size()];
  if (spent.page != page) spent = {page, 0};
  spent.ns += ns;
  shard.policy.note_hand_over(ns);
}

// It was shared here, and has left: what it cost before has been paid for.
void Pager::forget_spent(Shard& shard, u64 page) {
  auto& spent = shard.spent[page % shard.spent.size()];
  if (spent.page == page) spent.ns = 0;
}

// Mapped means written, as far as is known: a frame is mapped with all rights.
void Pager::note_use(PageRun run) {
  for (u64 i = 0; i < run.count;) {
    const u64 frame = directory_->lookup(run.first + i).value_or(DirEntry{}).frame;
    const u64 left = kFrameGroup - (run.first + i) % kFrameGroup;
    coherence_->note_use(frame, 1, self_);
    i += left;
  }
}

// For whoever has paid for a place in a full region. Of the thread that watches.
void Pager::make_room_in_region() {
  const u64 wanted = room_wanted_.exchange(0);
  if (wanted == 0) return;
  if (const auto freed = region_clock_->turn(wanted); !freed.ok() && options_.failed)
    options_.failed(freed.error());
}

// Counted anew from time to time only: it is a look at each frame.
RegionUse Pager::region_use(Shard& shard) const {
  const u64 now = fabric::monotonic_ns();
  if (shard.region_seen_ns == 0 || now - shard.region_seen_ns > kRegionSeenNs) {
    shard.region = {coherence_->shared_frames(), coherence_->frames_in_use()};
    shard.region_seen_ns = now;
  }
  return shard.region;
}

// A page that another node has is wanted here: both share it from now on, if that is worth it, and
// with it of its block what may be shared as well.
Status Pager::share_if_worth(Shard& shard, u64 page, bool writes) {
  const RegionUse use = region_use(shard);
  const auto& spent = shard.spent[page % shard.spent.size()];
  const u64 paid = spent.page == page ? spent.ns : 0;
  if (shard.policy.wants_room(paid, use)) room_wanted_.store(shard.policy.room_wanted(use));
  const u64 wanted = shard.policy.pages_to_share(writes, paid, use);
  if (wanted == 0) return {};
  const u64 first = page - page % wanted;
  const u64 end = std::min(first + wanted, shard.pages.first + shard.pages.count);
  const u64 begun = fabric::monotonic_ns();
  u64 shared = 0;
  for (u64 at = std::max(first, shard.pages.first); at < end;) {
    PageRun run{at, 0};
    while (at + run.count < end && (at + run.count == page || may_go_along(at + run.count)))
      ++run.count;
    if (run.count != 0) {
      const bool asked = page >= at && page < at + run.count;
      const auto moved = mover_->move(run, asked ? page : at, Want::share);
      if (!moved.ok()) return moved.error();
    }
    shared += run.count;
    at += run.count + 1;
  }
  shard.region.taken += shared;
  shard.policy.note_shared(shared, fabric::monotonic_ns() - begun);
  return {};
}

// Not what is shared already, nor what many only read: for that, copies are better.
bool Pager::may_go_along(u64 page) const {
  const auto entry = directory_->lookup(page);
  return entry && entry->mover == 0 && (entry->mode == PageMode::owned || entry->at_home());
}

// Of the same block, what lies beside it and is not mapped here yet.
PageRun Pager::shared_run(const Shard& shard, u64 page) const {
  const u64 first = std::max(page - page % kShareBlock, shard.pages.first);
  const u64 end =
      std::min(page - page % kShareBlock + kShareBlock, shard.pages.first + shard.pages.count);
  const auto goes_along = [this](u64 at) {
    const auto entry = directory_->lookup(at);
    return entry && entry->mode == PageMode::shared && entry->mover == 0;
  };
  PageRun run{page, 1};
  for (; run.first > first && goes_along(run.first - 1); --run.first) ++run.count;
  while (run.first + run.count < end && goes_along(run.first + run.count)) ++run.count;
  return run;
}

}  // namespace dvm::hyperkernel
