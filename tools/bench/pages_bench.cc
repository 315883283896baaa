#include "tools/bench/pages_bench.h"

#include <sys/mman.h>

#include <cstring>
#include <numeric>
#include <random>

#include "tools/bench/pages_hung.h"
#include "tools/bench/pages_peer.h"

namespace dvm::bench {
namespace {

using namespace hyperkernel;
using tools::BenchResult;

constexpr u64 kLittleMemory = 4;  // RAM is this many times the local memory, where it is evicted

class Bench {
 public:
  explicit Bench(const PagesSettings& settings) : settings_(settings) {}
  Status start();
  void round(u32 number);
  Status evict();
  std::vector<BenchResult> results() const;

 private:
  std::vector<u64> shuffled(u32 seed) const;
  void measure_futex(std::vector<double>& us);
  void measure_copy();
  void measure_handover(u32 seed);
  void measure_copies(u32 seed);
  void measure_walk();

  PagesSettings settings_;
  fabric::Pool pool_;
  std::optional<Coherence> coherence_;
  PagesPeer peer_;
  std::unique_ptr<Pager> node_;
  HungNodeRows hung_;
  std::vector<double> futex_us_, futex_one_us_, copy_us_, handover_us_, first_read_us_, upgrade_us_;
  std::vector<double> walk_us_, memcpy_us_, read_again_ns_, read_plain_ns_, evict_us_;
  std::vector<double> handover_ratio_, walk_ratio_;
  u64 read_faults_ = 0;
};

Status Bench::start() {
  DVM_TRY(Userfault::probe());
  DVM_ASSIGN(pool_, make_pages_pool(settings_.pages));
  DVM_ASSIGN(coherence_, Coherence::of(pool_));
  DVM_TRY(peer_.start(pool_, settings_.pages));
  stay_on(0);
  DVM_ASSIGN(node_, make_pages_node(pool_, kHere, 0));
  return {};
}

std::vector<u64> Bench::shuffled(u32 seed) const {
  std::vector<u64> order(settings_.pages);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(seed));
  return order;
}

void Bench::measure_futex(std::vector<double>& us) {
  for (int i = 0; i < 1000; ++i) {
    const u64 from = fabric::monotonic_ns();
    peer_.ping();
    us.push_back(since_us(from));
  }
}

void Bench::measure_copy() {
  std::vector<std::byte> from(kPageBytes * 64), to(kPageBytes * 64);
  std::memset(from.data(), 1, from.size());
  std::memset(to.data(), 2, to.size());
  for (int i = 0; i < 1000; ++i) {
    const u64 at = static_cast<u64>(i * 37 % 64) * kPageBytes;
    const u64 begin = fabric::monotonic_ns();
    std::memcpy(to.data() + at, from.data() + at, kPageBytes);
    asm volatile("" : : "r"(to.data()) : "memory");
    copy_us_.push_back(since_us(begin));
  }
}

// A page that the other node has written is written here, one after the other in no order.
void Bench::measure_handover(u32 seed) {
  peer_.tell(Order::write_all);
  for (const u64 page : shuffled(seed)) {
    const u64 from = fabric::monotonic_ns();
    word(*node_, page).fetch_add(1);
    handover_us_.push_back(since_us(from));
  }
}

// Read here for the first time, then again; then written although the other node has a copy.
void Bench::measure_copies(u32 seed) {
  peer_.tell(Order::write_all);
  const auto order = shuffled(seed);
  for (const u64 page : order) {
    const u64 from = fabric::monotonic_ns();
    (void)word(*node_, page).load();
    first_read_us_.push_back(since_us(from));
  }
  const auto& faults = coherence_->node(kHere).counters.faults;
  const u64 before = faults.load();
  std::vector<std::byte> plain(settings_.pages * kPageBytes, std::byte{1});
  u64 sum = 0;
  for (int pass = 0; pass < 3; ++pass) {  // the first warms both up
    const u64 begin = fabric::monotonic_ns();
    for (const u64 page : order) sum += word(*node_, page).load(std::memory_order_relaxed);
    const u64 middle = fabric::monotonic_ns();
    for (const u64 page : order)
      sum += static_cast<u64>(*const_cast<volatile std::byte*>(plain.data() + page * kPageBytes));
    const u64 end = fabric::monotonic_ns();
    const auto each = [this](u64 ns) {
      return static_cast<double>(ns) / static_cast<double>(settings_.pages);
    };
    if (pass == 0) continue;
    read_again_ns_.push_back(each(middle - begin));
    read_plain_ns_.push_back(each(end - middle));
  }
  asm volatile("" : : "r"(sum));
  read_faults_ += faults.load() - before;
  for (const u64 page : order) {
    const u64 from = fabric::monotonic_ns();
    word(*node_, page).fetch_add(1);
    upgrade_us_.push_back(since_us(from));
  }
}

// All of the other node's memory from front to back, beside as much copied into fresh memory.
void Bench::measure_walk() {
  peer_.tell(Order::write_all);
  const u64 bytes = settings_.pages * kPageBytes;
  const u64 from = fabric::monotonic_ns();
  u64 sum = 0;
  for (u64 page = 0; page < settings_.pages; ++page) sum += word(*node_, page).load();
  walk_us_.push_back(since_us(from));
  asm volatile("" : : "r"(sum));
  void* fresh = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fresh == MAP_FAILED) return;
  const u64 begin = fabric::monotonic_ns();
  std::memcpy(fresh, node_->view(), bytes);
  memcpy_us_.push_back(since_us(begin));
  ::munmap(fresh, bytes);
  walk_ratio_.push_back(walk_us_.back() / memcpy_us_.back());
}

void Bench::round(u32 number) {
  const auto median_of_last = [](const std::vector<double>& v, u64 n) {
    return tools::percentile({v.end() - static_cast<std::ptrdiff_t>(n), v.end()}, 50);
  };
  stay_on(1);  // where the peer is
  measure_futex(futex_one_us_);
  stay_on(0);
  measure_futex(futex_us_);
  measure_copy();
  measure_handover(number);
  handover_ratio_.push_back(median_of_last(handover_us_, settings_.pages) /
                            median_of_last(futex_us_, 1000));
  measure_copies(number);
  measure_walk();
  hung_.round(*node_, peer_, shuffled(number));
}

// One node whose local memory is a quarter of what it writes.
Status Bench::evict() {
  node_.reset();
  peer_.end();
  DVM_ASSIGN(const fabric::Pool pool, make_pages_pool(settings_.pages));
  DVM_ASSIGN(const auto node, make_pages_node(pool, kHere, settings_.pages / kLittleMemory));
  for (u32 round = 0; round < settings_.rounds; ++round) {
    const u64 from = fabric::monotonic_ns();
    for (u64 page = 0; page < settings_.pages; ++page) word(*node, page).fetch_add(1);
    evict_us_.push_back(since_us(from) / static_cast<double>(settings_.pages));
  }
  return {};
}

std::vector<BenchResult> Bench::results() const {
  const auto row = [](const char* name, const char* unit, const std::vector<double>& values) {
    return BenchResult{.name = name, .unit = unit, .summary = tools::summarize(values)};
  };
  const auto beside = [&](const char* name, const char* unit, const std::vector<double>& values,
                          const char* peer, const std::vector<double>& peers,
                          const std::vector<double>& ratios, std::optional<double> goal) {
    BenchResult r = row(name, unit, values);
    r.peer = peer;
    r.peer_median = tools::percentile(peers, 50);
    r.ratio = ratios.empty() ? r.summary->median / *r.peer_median : tools::percentile(ratios, 50);
    r.goal = goal;
    return r;
  };
  BenchResult faults = row("pages.copy.faults", "faults", {static_cast<double>(read_faults_)});
  faults.peer = "pages.copy.first-read";  // a fault each, at most
  faults.peer_median = static_cast<double>(settings_.pages);
  faults.ratio = static_cast<double>(read_faults_) / *faults.peer_median;
  faults.goal = 0.0;
  std::vector<BenchResult> all = {
      row("futex.roundtrip", "us", futex_us_),
      row("futex.roundtrip.one-cpu", "us", futex_one_us_),
      row("copy.4KiB", "us", copy_us_),
      beside("pages.handover", "us", handover_us_, "futex.roundtrip", futex_us_, handover_ratio_,
             1.5),
      row("pages.copy.first-read", "us", first_read_us_),
      beside("pages.copy.read", "ns", read_again_ns_, "memory.read", read_plain_ns_, {}, {}),
      faults,
      row("pages.take-from-copies", "us", upgrade_us_),
      beside("pages.walk", "us", walk_us_, "memcpy.fresh", memcpy_us_, walk_ratio_, 2.0),
      row("pages.with-eviction", "us", evict_us_)};
  for (auto& result : hung_.results()) all.push_back(std::move(result));
  return all;
}

}  // namespace

Result<std::vector<BenchResult>> measure_pages(const PagesSettings& settings) {
  Bench bench(settings);
  DVM_TRY(bench.start());
  for (u32 i = 0; i < settings.rounds; ++i) bench.round(i);
  DVM_TRY(bench.evict());
  return bench.results();
}

}  // namespace dvm::bench
