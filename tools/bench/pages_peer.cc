#include "tools/bench/pages_peer.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace dvm::bench {

using namespace hyperkernel;
using fabric::Doorbell;
using fabric::RegionKind;

namespace {

void await(const Doorbell& bell, u32 seen) {
  while (fabric::listen(bell) == seen) fabric::wait(bell, seen, std::nullopt);
}

void carry_out(Pager& node, Order order, u64 pages) {
  switch (order) {
    case Order::none: return;
    case Order::write_all:
      for (u64 i = 0; i < pages; ++i) word(node, i).fetch_add(1);
      return;
    case Order::read_all:
      for (u64 i = 0; i < pages; ++i) (void)word(node, i).load();
      return;
    case Order::rest: node.rest(); return;
    case Order::run:
      if (!node.begin().ok()) ::_exit(1);
      return;
  }
}

}  // namespace

// What the two processes share besides the pool.
struct PagesPeer::Desk {
  std::atomic<Order> order;
  Doorbell ordered, done;
  alignas(64) Doorbell ping;
  alignas(64) Doorbell pong;
};

void stay_on(u32 cpu) {
  const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % static_cast<u32>(std::max(cpus, 1l)), &set);
  ::sched_setaffinity(0, sizeof set, &set);
}

Result<fabric::Pool> make_pages_pool(u64 pages) {
  fabric::PoolSpec spec;
  spec.name = "bench";
  spec.frames_bytes = pages * kPageBytes;
  spec.metadata = {
      {RegionKind::instances, fabric::kInstancesVersion, sizeof(fabric::InstanceTable)},
      {RegionKind::page_directory, kPageDirectoryVersion, hyperkernel::page_directory_bytes(pages)},
      {RegionKind::coherence, kCoherenceVersion, coherence_region_bytes(pages, 0)}};
  DVM_ASSIGN(fabric::Pool pool, fabric::Pool::create(spec));
  DVM_ASSIGN(PageDirectory directory, PageDirectory::of(pool));
  directory.begin_at_home(pages);
  DVM_TRY(Coherence::format(pool, {pages, pages, 0, 0}));
  return pool;
}

Result<std::unique_ptr<Pager>> make_pages_node(const fabric::Pool& pool, u32 index,
                                               u64 local_pages) {
  DVM_ASSIGN(auto* instances,
             pool.record<fabric::InstanceTable>(RegionKind::instances, fabric::kInstancesVersion));
  PagerOptions options;
  options.local_pages = local_pages;
  options.failed = [](const Error&) { ::_exit(1); };
  DVM_ASSIGN(auto node, Pager::start(pool, *instances, instances->join(index, ::getpid()), index,
                                     std::move(options)));
  DVM_TRY(node->begin());
  return node;
}

Status PagesPeer::start(const fabric::Pool& pool, u64 pages) {
  void* p =
      ::mmap(nullptr, sizeof(Desk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return sys_error("mmap");
  desk_ = new (p) Desk();
  const u32 seen = fabric::listen(desk_->done);
  pid_ = ::fork();
  if (pid_ < 0) return sys_error("fork");
  if (pid_ == 0) serve(pool, pages);
  await(desk_->done, seen);
  return {};
}

// Carries out orders, and answers the ping-pong in a thread.
void PagesPeer::serve(const fabric::Pool& pool, u64 pages) {
  stay_on(1);
  auto node = make_pages_node(pool, kThere, 0);
  if (!node.ok()) ::_exit(1);
  std::thread([desk = desk_] {
    for (u32 seen = 0;; ++seen) {
      await(desk->ping, seen);
      fabric::ring(desk->pong);
    }
  }).detach();
  for (u32 seen = 0;; ++seen) {
    fabric::ring(desk_->done);
    await(desk_->ordered, seen);
    carry_out(**node, desk_->order.load(), pages);
  }
}

void PagesPeer::end() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void PagesPeer::tell(Order order) {
  const u32 seen = fabric::listen(desk_->done);
  desk_->order.store(order);
  fabric::ring(desk_->ordered);
  await(desk_->done, seen);
}

void PagesPeer::ping() {
  const u32 seen = fabric::listen(desk_->pong);
  fabric::ring(desk_->ping);
  await(desk_->pong, seen);
}

void PagesPeer::stop() {
  ::kill(pid_, SIGSTOP);
  ::waitpid(pid_, nullptr, WUNTRACED);
}

void PagesPeer::go_on() { ::kill(pid_, SIGCONT); }

}  // namespace dvm::bench
