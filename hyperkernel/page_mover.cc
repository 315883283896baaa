#include "hyperkernel/page_mover.h"

#include <immintrin.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fabric/failpoint.h"
#include "hyperkernel/cache_lines.h"

namespace dvm::hyperkernel {

Result<PageMover> PageMover::make(const PagerPlaces& places) {
  PageMover m;
  m.places_ = places;
  DVM_ASSIGN(const auto region, places.pool->region_header(fabric::RegionKind::frames, 1));
  m.frames_offset_ = region.offset;
  m.frame_count_ = region.bytes / kPageBytes;
  // The coherent region by huge pages, where the host gives them for shared memory: the first touch
  // of each makes it (populate).
  DVM_ASSIGN(Mapping frames, Mapping::reserve(region.bytes, kHugePageBytes));
  DVM_TRY(frames.map_at(0, places.pool->fd(), region.offset, region.bytes, places.pool->name()));
  const u64 first = std::min(places.coherence->first_frame() * kPageBytes, region.bytes);
  ::madvise(frames.data() + first, region.bytes - first, MADV_HUGEPAGE);
  m.frames_ = std::make_shared<Mapping>(std::move(frames));
  return m;
}

// One that leads out of the pool is as good as none.
DirEntry PageMover::look(u64 page) const {
  const DirEntry entry = places_.directory->lookup(page).value_or(DirEntry{});
  return entry.frame < frame_count_ ? entry : DirEntry{};
}

bool PageMover::is_bulk(ActKind kind) {
  switch (kind) {
    case ActKind::protect:
    case ActKind::write_back:
    case ActKind::discard:
    case ActKind::install_read:
    case ActKind::install_write:
    case ActKind::map_shared:
    case ActKind::fill_frame:
    case ActKind::guard_frame:
    case ActKind::drop_frame: return true;
    default: return false;
  }
}

// Until the entry is another or its mover is certain to have stopped, which the fabric sees to.
Answer PageMover::await(u64 page, u32 mover) {
  constexpr int kSpins = 200;
  constexpr timespec kNap{.tv_sec = 0, .tv_nsec = 50'000};
  const DirEntry before = look(page);
  if (before.mover != mover + 1) return {.ok = false, .seen = {}};
  for (int i = 0;; ++i) {
    if (look(page) != before) return {.ok = false, .seen = {}};
    if (mover != places_.self && places_.peers->stopped(mover)) return {.ok = true, .seen = {}};
    if (i < kSpins) {
      _mm_pause();
    } else {
      ::nanosleep(&kNap, nullptr);
    }
  }
}

// Acts on words of the pool, one page at a time, until there is something to do to memory. A page
// that would have to be waited for is given up, unless it is the one that was asked for.
void PageMover::settle(Item& item, bool may_wait) {
  while (item.act.kind != ActKind::done && !is_bulk(item.act.kind)) {
    Answer answer;
    switch (item.act.kind) {
      case ActKind::look: answer.seen = look(item.page); break;
      case ActKind::swap:
        fabric::failpoint("pages.swap");
        answer.ok = places_.directory->transition(item.page, item.act.expected, item.act.desired);
        if (!answer.ok) answer.seen = look(item.page);
        break;
      case ActKind::await:
        if (!may_wait) {
          item.act = {};
          return;
        }
        answer = await(item.page, item.act.node);
        break;
      case ActKind::mark: answer.ok = places_.coherence->mark(item.act.node, item.page); break;
      case ActKind::take_frame:
        answer.frame = places_.coherence->take_frame(item.page, item.transition.entry().frame);
        answer.ok = answer.frame != ~0ull;
        break;
      case ActKind::empty_frame: {
        const auto home = empty(item.page, item.transition.entry().frame);
        answer.ok = home.ok();
        if (home.ok()) answer.frame = *home;
        break;
      }
      case ActKind::drop_strays:
        answer.ok = drop_strays(item.page, item.transition.entry().frame).ok();
        break;
      default: return;
    }
    item.act = item.transition.next(answer);
  }
}

Result<bool> PageMover::move(PageRun run, u64 asked_for, Want want, u32 subject) {
  Items items;
  items.reserve(run.count);
  for (u64 i = 0; i < run.count; ++i) {
    // In the place of a frame that is mapped here a page is put only writable (NodeMemory).
    const bool whole = want == Want::read && places_.memory->maps_frame(run.first + i);
    items.push_back(
        {run.first + i, Transition(whole ? Want::write : want, places_.self, subject), {}});
    items.back().act = items.back().transition.next({});
  }
  // The one that is waited for first, while nothing is held.
  settle(items[asked_for - run.first], true);
  for (Item& item : items) settle(item, false);
  for (bool more = true; more;) {
    more = false;
    for (std::size_t i = 0; i < items.size();) {
      if (items[i].act.kind == ActKind::done) {
        ++i;
        continue;
      }
      const u64 count = run_length(items, i);
      DVM_TRY(carry_out(items, i, count));
      for (std::size_t k = i; k < i + count; ++k) {
        items[k].act = items[k].transition.next({});
        settle(items[k], false);
      }
      i += count;
      more = true;
    }
  }
  const Transition& asked = items[asked_for - run.first].transition;
  if (!asked.entry().sound()) {
    return error("page directory: the entry of page {} is damaged: {:#x}", asked_for,
                 places_.directory->lookup(asked_for).value_or(DirEntry{}).packed());
  }
  return asked.granted();
}

// How many from `first` on ask for the same of pages and frames that lie side by side.
u64 PageMover::run_length(const Items& items, std::size_t first) const {
  const Item& a = items[first];
  u64 count = 1;
  for (; first + count < items.size(); ++count) {
    const Item& b = items[first + count];
    if (b.act.kind != a.act.kind || b.act.node != a.act.node ||
        b.from_elsewhere != a.from_elsewhere ||
        b.transition.entry().frame != a.transition.entry().frame + count ||
        (a.act.kind == ActKind::drop_frame &&
         b.act.expected.frame != a.act.expected.frame + count) ||
        (a.act.kind == ActKind::fill_frame &&
         b.transition.new_frame() != a.transition.new_frame() + count))
      break;
  }
  return count;
}

Status PageMover::carry_out(Items& items, std::size_t first, u64 count) {
  Item& item = items[first];
  const PageRun run{item.page, count};
  const u64 home = item.transition.entry().frame;
  fabric::failpoint("pages.act");
  switch (item.act.kind) {
    case ActKind::protect: {
      if (item.act.node == places_.self) return places_.memory->local().protect(run);
      const auto peer = places_.peers->memory(item.act.node);
      return peer ? peer->protect(run) : Status();
    }
    case ActKind::write_back:
      for (u64 i = 0; i < count; ++i) items[first + i].from_elsewhere = true;
      return write_back(run, item.act.node, home);
    case ActKind::discard: return discard(run, item.act.node);
    case ActKind::install_read: return install(item, run, false);
    case ActKind::install_write: return install(item, run, true);
    case ActKind::map_shared:
      return places_.memory->map_frames(run, frames_offset_ + home * kPageBytes);
    case ActKind::fill_frame:
      counters().shared.fetch_add(count, std::memory_order_relaxed);
      return fill(run, item.act.node, home, item.transition.new_frame());
    case ActKind::guard_frame: return guard(run);
    case ActKind::drop_frame:
      counters().unshared.fetch_add(count, std::memory_order_relaxed);
      return drop_frames(item.act.expected.frame, count);
    default: return {};
  }
}

Status PageMover::write_back(PageRun run, u32 node, u64 home) {
  u64 found = 0;
  if (node == places_.self) {
    DVM_ASSIGN(found, places_.memory->local().read(run, frame(home)));
  } else if (const auto peer = places_.peers->memory(node)) {
    DVM_ASSIGN(found, peer->read(run, frame(home)));
    counters().taken.fetch_add(found, std::memory_order_relaxed);
  } else if (places_.peers->stopped(node)) {
    counters().lost.fetch_add(run.count, std::memory_order_relaxed);
  } else {
    return error("the memory of node {} cannot be reached, and the node lives", node);
  }
  if (found != 0) write_back_lines({frame(home), run.count * kPageBytes});
  return {};
}

Status PageMover::discard(PageRun run, u32 node) {
  if (node == places_.self) return places_.memory->local().discard(run);
  const auto peer = places_.peers->memory(node);
  if (peer) return peer->discard(run);
  if (places_.peers->stopped(node)) return {};
  return error("the memory of node {} cannot be reached, and the node lives", node);
}

Status PageMover::install(const Item& first, PageRun run, bool writable) {
  const u64 number = first.transition.entry().frame;
  const std::byte* home = frame(number);
  if (writable && !first.from_elsewhere && never_written(number, run.count) &&
      places_.memory->install_zeroes(run))
    return {};
  if (!first.from_elsewhere) forget_lines({home, run.count * kPageBytes});
  if (!writable) counters().copied.fetch_add(run.count, std::memory_order_relaxed);
  return places_.memory->install(run, home, writable);
}

}  // namespace dvm::hyperkernel
