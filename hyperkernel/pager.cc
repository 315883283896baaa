#include "hyperkernel/pager.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace dvm::hyperkernel {
namespace {

constexpr u64 kHoldLimitNs = 30'000'000'000;  // on a host that is far too busy
constexpr u64 kWatchNs = 100'000'000;

}  // namespace

Result<std::unique_ptr<Pager>> Pager::start(const fabric::Pool& pool,
                                            const fabric::InstanceTable& instances,
                                            fabric::InstanceId instance, u32 self,
                                            PagerOptions options) {
  std::unique_ptr<Pager> p(new Pager());
  p->options_ = std::move(options);
  p->self_ = self;
  DVM_ASSIGN(p->directory_, PageDirectory::of(pool));
  DVM_ASSIGN(p->coherence_, Coherence::of(pool));
  const u64 pages = p->coherence_->pages();
  if (p->options_.local_pages == 0) p->options_.local_pages = p->coherence_->local_pages();
  if (p->options_.local_pages == 0) p->options_.local_pages = pages;
  p->aged_ = std::vector<std::atomic<u8>>(pages);
  DVM_ASSIGN(p->memory_, NodeMemory::make(pool, pages, p->options_.shards));
  p->peers_ = std::make_unique<Peers>(*p->coherence_, instances, self);
  DVM_ASSIGN(p->mover_, PageMover::make({&pool, &*p->directory_, &*p->coherence_, p->memory_.get(),
                                         p->peers_.get(), self}));
  p->region_clock_.emplace(*p->directory_, *p->coherence_, *p->mover_);
  p->stop_ = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!p->stop_.valid()) return sys_error("eventfd");
  DVM_TRY(p->publish(instance));
  p->watcher_ = std::thread([pager = p.get()] { pager->watch_peers(); });
  DVM_TRY(p->wait_until_held());
  for (u32 i = 0; i < p->memory_->shards(); ++i) {
    p->shards_.push_back(std::make_unique<Shard>());
    p->shards_.back()->pages = p->memory_->shard_pages(i);
  }
  for (u32 i = 0; i < p->memory_->shards(); ++i)
    p->shards_[i]->thread = std::thread([pager = p.get(), i] { pager->serve(i); });
  return p;
}

Pager::~Pager() {
  stopping_.store(true);
  const u64 one = 1;
  (void)stop_.write_all(std::as_bytes(std::span(&one, 1)), "eventfd");
  fabric::ring(coherence_->changed());
  for (auto& shard : shards_) {
    if (shard->thread.joinable()) shard->thread.join();
  }
  if (watcher_.joinable()) watcher_.join();
  coherence_->node(self_).instance.store(0, std::memory_order_release);
}

Status Pager::publish(fabric::InstanceId instance) {
  NodeRecordOfMemory& r = coherence_->node(self_);
  const u64 until = fabric::monotonic_ns() + kHoldLimitNs;
  while (r.instance.load(std::memory_order_acquire) != 0) {  // a life before, not yet recovered
    if (fabric::monotonic_ns() > until)
      return error("nobody has recovered the memory of node {} of before within 30 s", self_);
    fabric::wait(coherence_->changed(), fabric::listen(coherence_->changed()),
                 fabric::monotonic_ns() + kWatchNs / 10);
  }
  r.pid.store(::getpid());
  r.file.store(memory_->local().file().get());
  r.userfault.store(memory_->local().faults().fd().get());
  r.view.store(memory_->local().address(0));
  r.held_by.store(0);
  r.runs.store(0);
  r.instance.store(instance.packed(), std::memory_order_release);
  fabric::ring(coherence_->changed());
  return {};
}

// Only then may this node own a page: should it die, its frames are in the hands of the living.
Status Pager::wait_until_held() {
  const u64 until = fabric::monotonic_ns() + kHoldLimitNs;
  for (;;) {
    const u32 seen = fabric::listen(coherence_->changed());
    if (peers_->all_hold_ours()) return {};
    if (fabric::monotonic_ns() > until)
      return error("a node does not take hold of the local memory of node {} within 30 s", self_);
    fabric::wait(coherence_->changed(), seen, fabric::monotonic_ns() + kWatchNs / 10);
  }
}

void Pager::watch_peers() {
  const auto entered = options_.enter_thread ? options_.enter_thread() : nullptr;
  while (!stopping_.load()) {
    const u32 seen = fabric::listen(coherence_->changed());
    recover_stopped();
    make_room_in_region();
    if (peers_->hold_all()) {
      fabric::ring(coherence_->changed());
    } else {
      fabric::wait(coherence_->changed(), seen, fabric::monotonic_ns() + kWatchNs);
    }
  }
}

Status Pager::begin() {
  Status status;
  coherence_->begin_to_run(self_, [&](u64 page) {
    if (directory_->lookup(page)->owned_by(self_)) return;
    if (auto done = memory_->local().discard({page, 1}); !done.ok()) status = std::move(done);
  });
  return status;
}

std::vector<PageRun> Pager::owned() const {
  std::vector<PageRun> runs;
  for (u64 page = 0; page < coherence_->pages(); ++page) {
    if (!directory_->lookup(page)->owned_by(self_)) continue;
    if (runs.empty() || runs.back().first + runs.back().count != page) runs.push_back({page, 0});
    ++runs.back().count;
  }
  return runs;
}

Status Pager::leave() {
  for (u64 page = 0; page < coherence_->pages();) {
    const auto entry = directory_->lookup(page);
    if (!entry || (entry->nodes & only(self_)) == 0) {
      ++page;
      continue;
    }
    const u64 count = std::min(kMaxRun, coherence_->pages() - page);
    const auto moved = mover_->move({page, count}, Want::evict);
    if (!moved.ok()) return moved.error();
    ++page;  // the rest of the run may have been in somebody's hands
  }
  return {};
}

void Pager::recover_stopped() {
  for (u32 node = 0; node < kMaxNodes; ++node) {
    if (node == self_ || coherence_->node(node).instance.load(std::memory_order_acquire) == 0 ||
        !peers_->stopped(node))
      continue;
    if (const auto done = recover(node); !done.ok() && options_.failed)
      options_.failed(done.error());
  }
}

u64 Pager::count_named(PageRun run, u32 node) const {
  u64 count = 0;
  for (u64 i = 0; i < run.count; ++i) {
    const auto entry = directory_->lookup(run.first + i);
    count += entry && (entry->nodes & only(node)) != 0 ? 1u : 0u;
  }
  return count;
}

Status Pager::recover(u32 dead) {
  u64 who = coherence_->node(dead).instance.load(std::memory_order_acquire);
  if (who == 0 || !peers_->stopped(dead)) return {};
  const u64 lost_before = counters().lost.load(std::memory_order_relaxed);
  u64 recovered = 0;
  for (u64 page = 0; page < coherence_->pages(); ++page) {
    const auto entry = directory_->lookup(page);
    if (!entry || ((entry->nodes & only(dead)) == 0 && entry->mover != dead + 1)) continue;
    const PageRun run{page, std::min(kMaxRun, coherence_->pages() - page)};
    const u64 before = count_named(run, dead);
    const auto moved = mover_->move(run, page, Want::evict, dead);
    if (!moved.ok()) return moved.error();
    const u64 after = count_named(run, dead);
    recovered += before > after ? before - after : 0;
  }
  counters().recovered.fetch_add(recovered, std::memory_order_relaxed);
  if (recovered != 0 && options_.recovered)
    options_.recovered(dead, recovered,
                       counters().lost.load(std::memory_order_relaxed) - lost_before);
  coherence_->sweep_frames([&](u64 page, u64 frame) {
    const auto entry = directory_->lookup(page);
    return entry && (entry->frame == frame || entry->mover != 0);
  });
  peers_->forget(dead);
  auto& instance = coherence_->node(dead).instance;
  instance.compare_exchange_strong(who, 0, std::memory_order_acq_rel);
  fabric::ring(coherence_->changed());
  return {};
}

}  // namespace dvm::hyperkernel
