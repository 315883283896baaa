#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "fabric/block_cache.h"
#include "fabric/doorbell.h"
#include "tools/bench/contenders.h"
#include "tools/bench/fabric_bench.h"
#include "tools/bench/paired_runs.h"

namespace dvm::bench {
namespace {

using namespace fabric;  // NOLINT

constexpr u64 kFrames = 8192, kObjectBytes = 4 * kMiB;
constexpr u32 kHeldAtOnce = 16;  // allocated together, then freed: as work does it

using MallocFunction = void* (*)(std::size_t);
using FreeFunction = void (*)(void*);
struct Malloc {
  std::string name;
  MallocFunction allocate = nullptr;
  FreeFunction release = nullptr;
};

// The library's own malloc, if it is installed; it stays loaded, our own malloc stays as it is.
std::optional<Malloc> load_malloc(const char* name, std::initializer_list<const char*> libraries,
                                  const char* allocate, const char* release) {
  for (const char* library : libraries) {
    void* handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) continue;
    const Malloc m{name, reinterpret_cast<MallocFunction>(::dlsym(handle, allocate)),
                   reinterpret_cast<FreeFunction>(::dlsym(handle, release))};
    if (m.allocate != nullptr && m.release != nullptr) return m;
  }
  std::fprintf(stderr, "allocator: %s is not installed, skipped\n", name);
  return {};
}

// jemalloc's thread-local storage is of the kind that only a library loaded at the start can have:
// preloaded, it is the malloc of this process.
std::vector<Malloc> peers() {
  const bool preloaded = ::dlsym(RTLD_DEFAULT, "mallctl") != nullptr;
  std::vector<Malloc> found = {
      {preloaded ? "jemalloc" : "malloc of glibc", &std::malloc, &std::free}};
  if (!preloaded)
    std::fprintf(stderr, "allocator: for jemalloc: LD_PRELOAD=libjemalloc.so.2 dvm-bench ...\n");
  if (auto m = load_malloc("mimalloc", {"libmimalloc.so.2.0", "libmimalloc.so.2", "libmimalloc.so"},
                           "mi_malloc", "mi_free"))
    found.push_back(*m);
  return found;
}

Work batches(u32 thread, u64 end_ns, std::atomic<bool>& stop, auto&& allocate, auto&& release) {
  Work work;
  while (!stop.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 64; ++i) {
      std::array<decltype(allocate()), kHeldAtOnce> held;
      for (auto& h : held) h = allocate();
      for (auto& h : held) release(h);
    }
    work.operations += 64u * kHeldAtOnce;
    if (thread == 0 && fabric::monotonic_ns() >= end_ns) stop.store(true);
  }
  return work;
}

double ns_each(const std::vector<Work>& results) {
  double per_ns = 0;
  for (const Work& w : results) per_ns += static_cast<double>(w.operations) / w.elapsed_ns;
  return static_cast<double>(results.size()) / per_ns;
}

struct AllocatorBench {
  InstanceTable instances{};
  Pool pool;
  std::optional<FrameAllocator> allocator;
  std::vector<std::unique_ptr<BlockCache>> caches;

  Status make(u32 threads) {
    DVM_ASSIGN(pool, Pool::create({"",
                                   "bench",
                                   {{RegionKind::allocator, kAllocatorVersion,
                                     allocator_region_bytes(kFrames, kObjectBytes)}},
                                   kFrames * kPageBytes}));
    DVM_TRY(FrameAllocator::format(pool, 0));
    DVM_ASSIGN(auto made, FrameAllocator::attach(pool, instances));
    allocator.emplace(std::move(made));
    for (u32 t = 0; t < threads; ++t) {
      DVM_ASSIGN(auto cache, BlockCache::attach(*allocator, instances.join(t, 1)));
      caches.push_back(std::make_unique<BlockCache>(std::move(cache)));
    }
    return {};
  }
};

FabricRow compare(AllocatorBench& bench, bool frames, const Malloc& peer, u32 threads,
                  const FabricBenchSettings& settings) {
  Contenders contenders(threads);
  const std::size_t bytes = frames ? kPageBytes : 64;
  const auto end = [&] { return fabric::monotonic_ns() + static_cast<u64>(settings.run_ms * 1e6); };
  const auto ours = [&] {
    return ns_each(contenders.run([&, until = end()](u32 t, std::atomic<bool>& stop) {
      BlockCache& cache = *bench.caches[t];
      return batches(
          t, until, stop,
          [&] { return frames ? cache.allocate_frame() : cache.allocate_object(64); },
          [&](u64 block) { cache.free(block); });
    }));
  };
  const auto theirs = [&] {
    return ns_each(contenders.run([&, until = end()](u32 t, std::atomic<bool>& stop) {
      return batches(
          t, until, stop, [&] { return peer.allocate(bytes); },
          [&](void* block) { peer.release(block); });
    }));
  };
  const PairedTimes times = run_pairs(settings.pairs, ours, theirs);
  FabricRow row;
  row.name =
      fmt::format("allocate + free {}, {} threads", frames ? "a frame" : "64 bytes", threads);
  row.unit = "ns";
  row.median = percentile(times.ours, 50);
  row.p5 = percentile(times.ours, 5);
  row.p95 = percentile(times.ours, 95);
  row.n = times.ours.size();
  row.peer = peer.name;
  row.peer_median = percentile(times.peer, 50);
  row.ratio = times.ratio();
  row.ratio_upper = times.ratio_upper();
  return row;
}

// A dead instance's blocks, all held, are found and freed; with no more to find, for comparison.
Result<FabricRow> recovery(u32 held, u32 rounds) {
  AllocatorBench bench;
  DVM_TRY(bench.make(1));
  std::vector<double> us;
  for (u32 round = 0; round < rounds; ++round) {
    const InstanceId dead = bench.instances.join(1, 1);
    // Never destroyed: a cache that its process took along gives nothing back.
    DVM_ASSIGN(auto attached, BlockCache::attach(*bench.allocator, dead));
    auto* cache = new BlockCache(std::move(attached));  // NOLINT
    for (u32 i = 0; i < held; ++i) cache->allocate_frame();
    bench.instances.retire(dead, InstanceState::dead);
    const u64 start = fabric::monotonic_ns();
    DVM_TRY(bench.allocator->recover(dead, {0, 1}));
    us.push_back(static_cast<double>(fabric::monotonic_ns() - start) / 1000);
  }
  FabricRow row;
  row.name = fmt::format("recover {} frames of the dead", held);
  row.unit = "us";
  row.median = percentile(us, 50);
  row.p5 = percentile(us, 5);
  row.p95 = percentile(us, 95);
  row.n = us.size();
  return row;
}

}  // namespace

std::vector<FabricRow> measure_allocator(const FabricBenchSettings& settings) {
  std::vector<FabricRow> rows;
  for (const Malloc& peer : peers()) {
    for (const u32 threads : {1u, 2u}) {
      AllocatorBench bench;
      if (auto s = bench.make(threads); !s.ok()) {
        std::fprintf(stderr, "allocator: %s\n", s.error().message.c_str());
        return rows;
      }
      for (const bool frames : {false, true})
        rows.push_back(compare(bench, frames, peer, threads, settings));
    }
  }
  for (const u32 held : {0u, 1024u, 8000u}) {
    if (auto row = recovery(held, settings.pairs); row.ok()) rows.push_back(row.take());
  }
  return rows;
}

}  // namespace dvm::bench
