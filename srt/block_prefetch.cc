#include "srt/block_prefetch.h"

#include <linux/ioprio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace dvm::srt {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// Of the calling thread, which submits: its requests have its priority. A host that refuses, or
// whose scheduler has none, treats them as any.
void become_idle() {
  thread_local const long done =
      ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
  (void)done;
}

}  // namespace

std::span<std::byte> BlockPrefetch::Slot::content() {
  return {blocks.front().bytes.data(), read->bytes()};
}

Result<std::unique_ptr<BlockPrefetch>> BlockPrefetch::open(ReplicaTable& table,
                                                           const OpenQueue& open_queue) {
  std::unique_ptr<BlockPrefetch> prefetch(new BlockPrefetch(table));
  BlockPrefetch* const p = prefetch.get();
  for (Slot& slot : p->slots_) slot.blocks.resize(kMostBlocks);
  DVM_ASSIGN(p->queue_, open_queue([p](auto done) { p->completed(done); }, kRequests,
                                   [](auto) { become_idle(); }));
  return prefetch;
}

BlockPrefetch::~BlockPrefetch() {
  if (queue_) drain();
}

BlockPrefetch::Slot* BlockPrefetch::free_slot() {
  const auto slot = std::ranges::find_if(slots_, [](const Slot& s) { return !s.read; });
  return slot == slots_.end() ? nullptr : &*slot;
}

u32 BlockPrefetch::read(const BlockRun& run) {
  Slot* slot = nullptr;
  {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] { return (slot = free_slot()) != nullptr; });
  }
  AheadRead ahead = AheadRead::begin(table_, run, kMostBlocks);
  const u32 seen_to = ahead.seen_to();
  if (ahead.bytes() == 0) return seen_to;
  {
    const std::lock_guard lock(mutex_);
    slot->read = std::move(ahead);
  }
  const auto content = slot->content();
  const iovec buffer{content.data(), content.size()};
  const DiskRequest asked{.op = DiskOp::read,
                          .offset = slot->read->offset(),
                          .bytes = content.size(),
                          .buffers = {&buffer, 1},
                          .cookie = reinterpret_cast<u64>(slot)};
  table_.figures().ahead_reads.fetch_add(1, kRelaxed);
  // There is room: the queue is as deep as there are slots, and free again before a slot is.
  if (queue_->submit({&asked, 1}) == 0) {
    const DiskCompletion failed{.cookie = asked.cookie, .error = EAGAIN};
    completed({&failed, 1});
  }
  return seen_to;
}

void BlockPrefetch::completed(std::span<const DiskCompletion> done) {
  for (const DiskCompletion& completion : done) {
    auto* slot = reinterpret_cast<Slot*>(completion.cookie);
    const auto content = completion.error == 0 ? slot->content() : std::span<std::byte>();
    table_.figures().ahead_bytes.fetch_add(content.size(), kRelaxed);
    slot->read->end(table_, content);
    const std::lock_guard lock(mutex_);
    slot->read.reset();
    freed_.notify_all();
  }
}

void BlockPrefetch::drain() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [&] {
    return std::ranges::none_of(slots_, [](auto& s) { return s.read.has_value(); });
  });
}

}  // namespace dvm::srt
