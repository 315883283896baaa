// How faults of the view become moves of pages: which, how many at once, and what makes room.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "hyperkernel/pager.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kFirstTouchRun = 32;  // of pages that nobody has
constexpr u64 kClockRun = 32;

bool at_home(const DirEntry& e) { return e.mode == PageMode::replicated && e.nodes == 0; }

}  // namespace

void Pager::serve(Shard& shard, u32 index) {
  const auto entered = options_.enter_thread ? options_.enter_thread() : nullptr;
  const int faults = memory_->shard(index).fd().get();
  std::array<uffd_msg, 16> messages;
  while (!stopping_.load(std::memory_order_relaxed)) {
    const ssize_t got = ::read(faults, messages.data(), sizeof messages);
    if (got <= 0) {
      std::array<pollfd, 2> both{{{faults, POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
      ::poll(both.data(), both.size(), -1);
      continue;
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(got) / sizeof(uffd_msg); ++i) {
      const auto& m = messages[i];
      if (m.event != UFFD_EVENT_PAGEFAULT) continue;
      const Status done = serve_message(shard, m);
      if (!done.ok() && options_.failed) options_.failed(done.error());
    }
  }
}

Status Pager::serve_message(Shard& shard, const uffd_msg& m) {
  const auto& fault = m.arg.pagefault;
  if (!options_.seen) return serve_fault(shard, fault.address, fault.flags);
  const u64 page = (fault.address - memory_->local().address(0)) / kPageBytes;
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
  const auto entry = directory_->lookup(page);
  if (!entry) return error("a fault outside the view of RAM at {:#x}", address);
  counters().faults.fetch_add(1, std::memory_order_relaxed);
  const bool writes = (flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP)) != 0;
  const bool from_elsewhere = comes_from_elsewhere(*entry);
  const u64 begun = fabric::monotonic_ns();
  if (from_elsewhere && is_hot(shard, page)) {
    const auto shared = mover_->move({page, 1}, Want::share);
    if (!shared.ok()) return shared.error();
  }
  // Who reads a page that nobody has will mostly be alone with it: it gets it whole.
  const Want want = writes || at_home(*entry) ? Want::write : Want::read;
  const PageRun before = at_home(*entry) ? run_before(shard, page) : PageRun{page, 0};
  DVM_ASSIGN(const bool there, bring(run_to_move(shard, page, *entry), want));
  if (!there) return error("page {} is not to be had", page);
  if (from_elsewhere) note_cost(shard, page, fabric::monotonic_ns() - begun);
  if (before.count == 0) return {};
  const auto also = bring(before, want);  // while who faulted runs on
  return also.ok() ? Status() : also.error();
}

Result<bool> Pager::bring(PageRun run, Want want) {
  DVM_TRY(make_room(run.count));
  for (u64 i = 0; i < run.count; ++i) aged_[run.first + i].store(0, std::memory_order_relaxed);
  auto moved = mover_->move(run, want);
  if (moved.ok() && run.count > 1 && options_.mapped) options_.mapped(run);
  return moved;
}

bool Pager::comes_from_elsewhere(const DirEntry& entry) const {
  return entry.mode != PageMode::shared && (entry.nodes & ~only(self_)) != 0;
}

// A page that comes from another node again and again is one that both write: the guest kernel's
// hot words. One table a shard; pages that share a slot push each other out.
bool Pager::is_hot(Shard& shard, u64 page) const {
  Shard::Heat& heat = shard.heat[page % shard.heat.size()];
  const u64 now = fabric::monotonic_ns();
  if (heat.page != page) heat = {page, now, 0, 0};
  if (heat.moves++ < kHotMoves || coherence_->shared_frames() == 0) return false;
  const u64 quarters = 4 * coherence_->frames_in_use() / coherence_->shared_frames();
  const u64 bearable = (now - heat.since_ns) * kHotPerMille / 1000 << quarters;
  if (heat.spent_ns >= bearable) return quarters < 4;
  heat = {page, now, 0, 1};
  return false;
}

void Pager::note_cost(Shard& shard, u64 page, u64 spent_ns) {
  Shard::Heat& heat = shard.heat[page % shard.heat.size()];
  if (heat.page == page) heat.spent_ns += spent_ns;
}

// Allocators come from above as well as from below: of pages that nobody has, those before it in
// the same block.
PageRun Pager::run_before(const Shard& shard, u64 page) const {
  PageRun run{page, 0};
  const u64 first = std::max(page - page % kFirstTouchRun, shard.pages.first);
  for (; run.first > first; --run.first, ++run.count) {
    const auto entry = directory_->lookup(run.first - 1);
    if (!entry || !at_home(*entry) || entry->mover != 0) break;
  }
  return run;
}

// More than one page when a walk goes on where the last run ended, or when nobody has the pages.
// All of them as the first: with the same nodes, nobody at work on them.
PageRun Pager::run_to_move(Shard& shard, u64 page, const DirEntry& entry) const {
  const bool walks = page == shard.next;
  shard.window = walks ? std::min(shard.window * 2, kMaxRun) : 1;
  u64 limit = at_home(entry) ? std::max(shard.window, kFirstTouchRun) : shard.window;
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
  const u64 slack = std::min(limit / 8, kMaxRun);
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
