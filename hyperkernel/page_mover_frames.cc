// Frames of the coherent region: how a page's content gets into one, and out again.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "hyperkernel/cache_lines.h"
#include "hyperkernel/page_mover.h"

namespace dvm::hyperkernel {
namespace {

constexpr u64 kFillPages = 16;  // on the stack of the thread that serves faults

}  // namespace

// These frames are a hole in the pool's file, and to look at them would fill it. A device has none.
bool PageMover::never_written(u64 number, u64 count) const {
  const auto at = static_cast<off_t>(frames_offset_ + number * kPageBytes);
  const off_t data = ::lseek(places_.pool->fd().get(), at, SEEK_DATA);
  if (data < 0) return errno == ENXIO;
  return data >= at + static_cast<off_t>(count * kPageBytes);
}

// A huge page of the coherent region is made by the first who puts something into it, all zeroes:
// frames are cheaper to fill then, and are mapped at once.
void PageMover::populate(u64 to, u64 count) {
  for (u64 at = to / kHugeRun * kHugeRun; at < to + count; at += kHugeRun) {
    if (at < places_.coherence->first_frame() || at + kHugeRun > frame_count_) continue;
    if (never_written(at, kHugeRun)) std::memset(frame(std::max(at, to)), 0, 1);
  }
}

// What nobody has written is zero in a frame that nobody has used (`fresh`).
void PageMover::fill_from_home(u64 home, u64 to, u64 count, bool fresh) {
  if (!never_written(home, count)) {
    forget_lines({frame(home), count * kPageBytes});
    put({frame(home), count * kPageBytes}, to);
  } else if (!fresh) {
    std::memset(frame(to), 0, count * kPageBytes);
  }
}

// By a buffer and system calls: pages that are new in the pool's file are filled at once then,
// instead of being zeroed first by a fault of ours for each. A device takes no writes.
void PageMover::put(std::span<const std::byte> content, u64 to) {
  const auto at = static_cast<off_t>(frames_offset_ + to * kPageBytes);
  if (::pwrite(places_.pool->fd().get(), content.data(), content.size(), at) !=
      static_cast<ssize_t>(content.size()))
    std::memcpy(frame(to), content.data(), content.size());
}

Status PageMover::fill(PageRun run, u32 from, u64 home, u64 to) {
  std::shared_ptr<const LocalMemory> peer;
  const LocalMemory* copies = nullptr;
  if (from == places_.self) {
    copies = &places_.memory->local();
  } else if (from != kFromHome) {
    peer = places_.peers->memory(from);
    copies = peer.get();
    if (copies == nullptr && !places_.peers->stopped(from))
      return error("the memory of node {} cannot be reached, and the node lives", from);
    if (copies == nullptr) counters().lost.fetch_add(run.count, std::memory_order_relaxed);
  }
  const bool fresh = never_written(to, run.count);
  populate(to, run.count);
  if (copies == nullptr && never_written(home, run.count)) {
    fill_from_home(home, to, run.count, fresh);
    return {};
  }
  std::array<std::byte, kFillPages * kPageBytes> buffer;
  for (u64 done = 0; done < run.count;) {
    u64 there = 0;
    const u64 most = std::min(run.count - done, kFillPages);
    while (copies != nullptr && there < most && copies->has(run.first + done + there)) ++there;
    if (there == 0) {
      fill_from_home(home + done, to + done, 1, fresh);
      ++done;
      continue;
    }
    const auto content = std::span(buffer).first(there * kPageBytes);
    DVM_TRY(copies->file().pread_all(content, (run.first + done) * kPageBytes, "a node's memory"));
    put(content, to + done);
    if (from != places_.self) counters().taken.fetch_add(there, std::memory_order_relaxed);
    done += there;
  }
  return {};
}

Status PageMover::guard(PageRun run) {
  for (u32 node = 0; node < kMaxNodes; ++node) {
    if (node == places_.self) {
      DVM_TRY(places_.memory->local().guard(run));
      continue;
    }
    const auto& instance = places_.coherence->node(node).instance;
    const u64 who = instance.load(std::memory_order_acquire);
    if (who == 0 || places_.peers->stopped(node)) continue;
    const auto peer = places_.peers->memory(node);
    const Status done =
        peer ? peer->guard(run) : error("the memory of node {} cannot be reached", node);
    // Of a node that has left meanwhile, the view is gone: it is nobody before that.
    if (!done.ok() && instance.load(std::memory_order_acquire) == who &&
        !places_.peers->stopped(node))
      return done;
  }
  return {};
}

bool PageMover::is_zero(u64 number) const {
  const auto* words = reinterpret_cast<const u64*>(frame(number));
  return std::all_of(words, words + kPageBytes / sizeof(u64), [](u64 w) { return w == 0; });
}

// Returns the page's home, which the frame's word in the pool tells: followed only if it is one.
Result<u64> PageMover::empty(u64 page, u64 number) {
  const auto home = places_.coherence->home_of(page, number);
  if (!home) return error("frame {} is not known to hold page {}", number, page);
  if (is_zero(number) && never_written(*home, 1)) return *home;
  forget_lines({frame(*home), kPageBytes});
  put({frame(number), kPageBytes}, *home);
  write_back_lines({frame(*home), kPageBytes});
  return *home;
}

// A hole in the pool's file: the kernel takes it from everybody who maps it, without asking.
Status PageMover::drop_frames(u64 number, u64 count) {
  const auto at = static_cast<off_t>(frames_offset_ + number * kPageBytes);
  for (;;) {
    if (::fallocate(places_.pool->fd().get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                    static_cast<off_t>(count * kPageBytes)) == 0)
      break;
    if (errno != EINTR) return sys_error("fallocate frames of the coherent region");
  }
  for (u64 i = 0; i < count; ++i) places_.coherence->free_frame(number + i);
  return {};
}

Status PageMover::drop_strays(u64 page, u64 named) {
  for (u64 i = 0; i < places_.coherence->shared_frames(); ++i) {
    const u64 number = places_.coherence->first_frame() + i;
    if (number != named && places_.coherence->home_of(page, number))
      DVM_TRY(drop_frames(number, 1));
  }
  return {};
}

}  // namespace dvm::hyperkernel
