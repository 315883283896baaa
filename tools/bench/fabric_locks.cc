#include <sys/mman.h>
#include <x86intrin.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <new>

#include "fabric/result.h"

#include "fabric/queue_lock.h"
#include "tools/bench/contenders.h"
#include "tools/bench/fabric_bench.h"
#include "tools/bench/paired_runs.h"
#include "tools/bench/plain_locks.h"

namespace dvm::bench {
namespace {

using fabric::InstanceId;

constexpr u32 kMaxContenders = 16;
constexpr int kThinkSteps = 40;
constexpr int kBurst = 63;

struct alignas(64) Guarded {
  u64 counter;
};

// All that is contended for, in shared memory as the pool's locks are.
struct Arena {
  fabric::InstanceTable instances;
  // In one place, free whenever the other is used: how far a line is from a processor depends on
  // its address, and would differ by more than the locks do. (128: lines are fetched in pairs.)
  union {
    alignas(128) TatasLock tatas;
    fabric::PoolLock pool;
  };
  alignas(128) McsLock mcs;
  alignas(128) std::array<McsLock::Node, kMaxContenders> nodes;
  alignas(128) fabric::QueueLock queue;
  alignas(128) RobustMutex robust;
  alignas(128) Guarded guarded;
};

Arena& arena() {
  static Arena* const shared = [] {
    void* p =
        ::mmap(nullptr, sizeof(Arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    auto* a = static_cast<Arena*>(p);
    a->robust.init();
    return a;
  }();
  return *shared;
}

// One thread's use of one way of locking: `section(f)` runs f under the lock.
struct Contender {
  Contender(Arena& shared, u32 thread) : a(shared), self{thread, 1}, node(shared.nodes[thread]) {}
  Arena& a;
  const InstanceId self;
  McsLock::Node& node;
};
struct UseTatas : Contender {
  using Contender::Contender;
  void section(auto&& f) {
    a.tatas.lock();
    f();
    a.tatas.unlock();
  }
};
struct UsePool : Contender {
  using Contender::Contender;
  void section(auto&& f) {
    acquire(a.pool, self, a.instances);
    f();
    release(a.pool);
  }
};
struct UseMcs : Contender {
  using Contender::Contender;
  void section(auto&& f) {
    a.mcs.lock(node);
    f();
    a.mcs.unlock(node);
  }
};
struct UseQueue : Contender {
  using Contender::Contender;
  void section(auto&& f) {
    const auto turn = acquire(a.queue, self, a.instances);
    f();
    release(a.queue, turn);
  }
};
struct UseRobust : Contender {
  using Contender::Contender;
  void section(auto&& f) {
    a.robust.lock();
    f();
    a.robust.unlock();
  }
};

double ns_per_tick() {
  static const double ratio = [] {
    using Clock = std::chrono::steady_clock;
    const auto t0 = Clock::now();
    const u64 c0 = __rdtsc();
    while (Clock::now() - t0 < std::chrono::milliseconds(20)) {
    }
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - t0).count();
    return ns / static_cast<double>(__rdtsc() - c0);
  }();
  return ratio;
}

void think() {
  for (int i = 0; i < kThinkSteps; ++i) asm volatile("" ::: "memory");
}

// By itself, so that both of a pair get the same registers: what surrounds the loop would otherwise
// decide whose counter is spilled.
template <typename Use>
[[gnu::noinline, gnu::aligned(64)]] void burst(Use& use, u64& counter, int sections) {
  const auto touch = [&] { counter = counter + 1; };
  for (int i = 0; i < sections; ++i) {
    use.section(touch);
    think();
  }
}

// With no more threads than processors, a burst that takes so long has lost its processor (to
// another process, or the virtual machine's to its host) and says nothing about the lock: it is not
// counted, for either of a pair.
constexpr double kLostProcessorNs = 300'000;

// One operation in 64 is timed by itself, for the deviation.
template <typename Use>
Work hammer(u32 thread, u64 ticks, bool few, std::atomic<bool>& stop) {
  Work work;
  Use use(arena(), thread);
  u64& counter = arena().guarded.counter;
  const u64 end = __rdtsc() + ticks;
  const auto ns_since = [](u64 start) {
    return static_cast<double>(__rdtsc() - start) * ns_per_tick();
  };
  while (!stop.load(std::memory_order_relaxed)) {
    const u64 start = __rdtsc();
    burst(use, counter, kBurst);
    const double burst_ns = ns_since(start);
    const u64 single = __rdtsc();
    burst(use, counter, 1);
    const double ns = ns_since(single);
    if (!few || burst_ns < kLostProcessorNs) {
      work.counted_ns += burst_ns;
      work.operations += kBurst;
    }
    if (!few || ns < kLostProcessorNs) {
      work.sum_ns += ns;
      work.sum_squares_ns += ns * ns;
      ++work.timed;
    }
    if (thread == 0 && __rdtsc() >= end) stop.store(true);
  }
  return work;
}

struct Tally {
  double sum = 0, squares = 0;
  u64 n = 0;
  double deviation() const {
    if (n == 0) return 0;
    const double mean = sum / static_cast<double>(n);
    return std::sqrt(std::max(0.0, squares / static_cast<double>(n) - mean * mean));
  }
};

// Mean ns from one operation of a thread to its next: what a caller pays, waiting included.
template <typename Use>
double one_run(Contenders& contenders, double ms, Tally& tally) {
  const bool few = contenders.fit_the_processors();
  const u64 ticks = static_cast<u64>(ms * 1e6 / ns_per_tick());
  const auto results = contenders.run(
      [&](u32 thread, std::atomic<bool>& stop) { return hammer<Use>(thread, ticks, few, stop); });
  double per_ns = 0;
  for (const Work& w : results) {
    if (w.operations == 0) return 0;  // it never had its processor for a whole burst
    per_ns += static_cast<double>(w.operations) / w.counted_ns;
    tally.sum += w.sum_ns;
    tally.squares += w.sum_squares_ns;
    tally.n += w.timed;
  }
  return static_cast<double>(results.size()) / per_ns;
}

template <typename Ours, typename Peer>
FabricRow compare(const char* name, const char* peer_name, u32 threads,
                  const FabricBenchSettings& settings, std::optional<double> goal) {
  for (u32 i = 0; i < kMaxContenders; ++i) arena().instances.slots[i].generation.store(1);
  ns_per_tick();
  Contenders contenders(threads);
  // Long enough for all to have had a processor several times.
  const double ms = contenders.fit_the_processors() ? settings.run_ms : 10 * settings.run_ms;
  Tally ours, peer;
  const PairedTimes times = run_pairs(
      settings.pairs, [&] { return one_run<Ours>(contenders, ms, ours); },
      [&] { return one_run<Peer>(contenders, ms, peer); });
  FabricRow row;
  row.name = fmt::format("{}, {} contenders", name, threads);
  row.unit = "ns";
  row.median = percentile(times.ours, 50);
  row.p5 = percentile(times.ours, 5);
  row.p95 = percentile(times.ours, 95);
  row.n = times.ours.size();
  row.peer = peer_name;
  row.peer_median = percentile(times.peer, 50);
  row.ratio = times.ratio();
  row.ratio_upper = times.ratio_upper();
  row.deviation = ours.deviation();
  row.peer_deviation = peer.deviation();
  row.goal = goal;
  return row;
}

}  // namespace

std::vector<FabricRow> measure_locks(const FabricBenchSettings& settings) {
  std::vector<FabricRow> rows;
  for (const u32 threads : settings.contenders) {
    const bool few = threads <= 2;
    const auto goal = [few](double value) { return few ? std::optional(value) : std::nullopt; };
    rows.push_back(
        compare<UsePool, UseTatas>("recoverable TATAS", "TATAS", threads, settings, goal(1.03)));
    rows.push_back(
        compare<UseQueue, UseMcs>("recoverable queue", "MCS", threads, settings, goal(1.08)));
    rows.push_back(compare<UsePool, UseRobust>("recoverable TATAS", "pthread robust mutex", threads,
                                               settings, {}));
    std::fprintf(stderr, "locks: %u contenders measured\n", threads);
  }
  return rows;
}

}  // namespace dvm::bench
