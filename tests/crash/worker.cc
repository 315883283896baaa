#include <unistd.h>

#include "tests/crash/worker.h"

namespace dvm::crash {

using namespace fabric;  // NOLINT

Worker::Worker(World& world, InstanceId self, Mistake mistake)
    : world_(world), self_(self), mistake_(mistake) {
  add_routines();
}

Status Worker::attach() {
  DVM_ASSIGN(auto cache, BlockCache::attach(world_.allocator(), self_));
  cache_ = std::make_unique<BlockCache>(std::move(cache));
  return {};
}

void Worker::section(Guarded& g, const LockResult& result, auto&& release) {
  const u64 before = g.inside.exchange(self_.packed());
  if (before != 0 &&
      (!result.from_dead() || !world_.instances().is_stale(InstanceId::unpack(before))))
    world_.complain(fmt::format("instance {} is inside with {:#x}", self_.id, before));
  if (result.from_dead() && mistake_ != Mistake::no_mend) {
    u64 sum = 0;
    for (const auto& entry : g.ledger) sum += entry.load();
    g.a.store(sum);
    g.b.store(sum);
  } else if (g.a.load() != g.b.load()) {
    world_.complain(fmt::format("not mended: a {}, b {}", g.a.load(), g.b.load()));
  }
  const u64 next = g.a.load() + 1;
  g.a.store(next);
  g.ledger[self_.id].store(g.ledger[self_.id].load() + 1);
  if (mistake_ != Mistake::unlock_before_publish) g.b.store(next);
  g.inside.store(0);
  if (mistake_ == Mistake::never_release && next % 200 == 0) return;
  release();
  if (mistake_ == Mistake::unlock_before_publish) g.b.store(next);
}

void Worker::word_section() {
  PoolLock& lock = world_.record().word_lock;
  const LockResult result = acquire(lock, self_, world_.instances());
  section(world_.record().under_word, result, [&] { release(lock); });
}

void Worker::queue_section() {
  QueueLock& lock = world_.record().queue_lock;
  const QueueTurn turn = acquire(lock, self_, world_.instances());
  section(world_.record().under_queue, turn.result, [&] { release(lock, turn); });
}

void Worker::append() {
  const u64 value = ++appended_;
  append_event(world_.log(), self_, world_.instances(), EventKind::warning,
               {value, ~value, self_.id});
}

u64 Worker::allocate(u64 random) {
  const u64 block =
      random % 4 == 0 ? cache_->allocate_frame() : cache_->allocate_object(1 + random / 4 % 512);
  if (block == 0) return 0;
  const u64 holder = world_.holder_of(block).exchange(self_.packed());
  if (holder != 0 && !world_.instances().is_stale(InstanceId::unpack(holder)))
    world_.complain(fmt::format("block {:#x} is given twice, {:#x} has it", block, holder));
  return block;
}

void Worker::allocate_and_free(u64 random) {
  const u64 block = allocate(random);
  if (block == 0) return;
  world_.holder_of(block).store(0);
  if (!cache_->free(block)) world_.complain(fmt::format("block {:#x} could not be freed", block));
}

void Worker::publish(u64 random) {
  const u64 index = random % kWords;
  const u64 block = allocate(random / kWords);
  if (block == 0) return;
  world_.holder_of(block).store(0);
  if (mistake_ == Mistake::publish_without_log) {
    auto place = world_.allocator().place_of(block);
    world_.record().words[index].store(block);
    place.value().word().store(BlockState{BlockUse::used, {}, 0}.packed());
    return;
  }
  const auto done = cache_->publish(block, {world_.word_offset(index), 0, block, ~0ull});
  if (!done.ok()) world_.complain(done.error().message);
  if (done.ok() && !done.value()) cache_->free(block);
}

void Worker::retire(u64 index) {
  const u64 block = world_.record().words[index].load();
  if (block == 0) return;
  const auto free_raw = [&] {
    if (auto place = world_.allocator().place_of(block); place.ok()) place.value().word().store(0);
  };
  u64 named = block;
  if (mistake_ == Mistake::free_without_log) {
    if (world_.record().words[index].compare_exchange_strong(named, 0)) free_raw();
    return;
  }
  if (mistake_ == Mistake::free_while_named) {
    free_raw();
    return;
  }
  const auto done = cache_->retire(block, {world_.word_offset(index), block, 0, ~0ull});
  if (!done.ok()) world_.complain(done.error().message);
}

void Worker::change_word(u64 random) {
  if (world_.record().words[random % kWords].load() == 0) {
    publish(random);
  } else {
    retire(random % kWords);
  }
}

void Worker::recover_someone(u64 random) {
  const u32 id = static_cast<u32>(random % 16) + 1;
  const u32 generation = world_.instances().slots[id].generation.load();
  if (generation < 2 || id == self_.id) return;
  // Even: retired and not yet joined again; odd: the one before it was.
  const InstanceId dead{id, generation - 1};
  if (auto s = world_.allocator().recover(dead, self_); !s.ok()) world_.complain(s.error().message);
}

}  // namespace dvm::crash
