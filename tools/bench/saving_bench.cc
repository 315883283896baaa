#include "tools/bench/saving_bench.h"

#include <chrono>
#include <thread>

#include "fabric/doorbell.h"
#include "tools/bench/saving_ways.h"

namespace dvm::tools {
namespace {

constexpr u64 kRam = 256 * kMiB;
constexpr u64 kRewritten = 5'000'000 / sizeof(u64);  // words
constexpr auto kEpoch = std::chrono::milliseconds(100);

// Writes that go on between epochs. Both kinds ask now and then whether they are to wait.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual const char* name() const = 0;
  virtual double goal() const = 0;  // of `suspect`, beside the way below
  virtual SavingWay beside() const = 0;
  virtual void write_some(u64* words) = 0;  // a unit of work
};

class Rewriter final : public Writer {
  const char* name() const override { return "rewrite-5MB"; }
  double goal() const override { return 1.15; }
  SavingWay beside() const override { return SavingWay::nothing; }
  void write_some(u64* words) override {
    for (u64 i = 0; i < kSome; ++i, at_ = at_ + 1 == kRewritten ? 0 : at_ + 1)
      static_cast<volatile u64&>(words[at_]) = words[at_] + 1;
  }
  static constexpr u64 kSome = 65'536;
  u64 at_ = 0;
};

class RandomWriter final : public Writer {
  const char* name() const override { return "random-256MiB"; }
  double goal() const override { return 1; }
  SavingWay beside() const override { return SavingWay::protect; }
  void write_some(u64* words) override {
    for (u64 i = 0; i < kSome; ++i) {
      random_ = random_ * 6364136223846793005u + 1442695040888963407u;
      static_cast<volatile u64&>(words[(random_ >> 24) % (kRam / sizeof(u64))]) = random_;
    }
  }
  static constexpr u64 kSome = 64;
  u64 random_ = 1;
};

// Us a unit, the standing still included.
Result<double> us_a_unit(Writer& writer, SavingWay way, SavedMemory& memory, u32 seconds) {
  DVM_ASSIGN(const auto saving, Saving::begin(way, memory));
  std::atomic<bool> hold{false}, stands{false}, over{false};
  u64 units = 0;
  auto* const words = reinterpret_cast<u64*>(memory.view.memory().ranges().front().host);
  const u64 begun = fabric::monotonic_ns();
  std::thread thread([&] {
    for (; !over.load(std::memory_order_relaxed); ++units) {
      writer.write_some(words);
      if (!hold.load(std::memory_order_acquire)) continue;
      stands.store(true);
      stands.notify_one();
      hold.wait(true);
    }
  });
  Status done;
  for (const u64 end = begun + u64{seconds} * 1'000'000'000; fabric::monotonic_ns() < end;) {
    std::this_thread::sleep_for(kEpoch);
    hold.store(true);
    stands.wait(false);
    done = saving->end_epoch();
    stands.store(false);
    hold.store(false);
    hold.notify_one();
    saving->went_on();
    if (!done.ok()) break;
  }
  over.store(true);
  thread.join();
  if (!done.ok()) return done.error();
  return static_cast<double>(fabric::monotonic_ns() - begun) / 1000 / static_cast<double>(units);
}

using WaySeries = std::array<Series, kSavingWays.size()>;

void add_results(const Writer& writer, const WaySeries& series, std::vector<BenchResult>& results) {
  for (std::size_t i = 0; i < series.size(); ++i) {
    const auto way = static_cast<SavingWay>(i);
    BenchResult r;
    r.name = fmt::format("recovery.saving.{}.{}", writer.name(), kSavingWays[i]);
    r.unit = "us";
    r.summary = summarize(present(series[i]));
    if (way != SavingWay::nothing) {
      const auto beside = way == SavingWay::suspect ? writer.beside() : SavingWay::nothing;
      const Series& other = series[static_cast<std::size_t>(beside)];
      r.peer = kSavingWays[static_cast<std::size_t>(beside)];
      if (const auto s = summarize(present(other))) r.peer_median = s->median;
      r.ratio = paired_ratio(series[i], other);
      if (way == SavingWay::suspect) r.goal = writer.goal();
    }
    results.push_back(std::move(r));
  }
}

}  // namespace

Result<std::vector<BenchResult>> measure_saving(u32 rounds, u32 seconds) {
  DVM_ASSIGN(const auto memory, SavedMemory::make(kRam));
  DVM_TRY(memory->view.memory().fill(0, kRam, std::byte{1}));
  Rewriter rewriter;
  RandomWriter random;
  std::vector<BenchResult> results;
  for (Writer* writer : {static_cast<Writer*>(&rewriter), static_cast<Writer*>(&random)}) {
    WaySeries series;
    for (u32 round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < series.size(); ++i) {
        DVM_ASSIGN(const double us,
                   us_a_unit(*writer, static_cast<SavingWay>(i), *memory, seconds));
        series[i].push_back(us);
      }
    }
    add_results(*writer, series, results);
  }
  return results;
}

}  // namespace dvm::tools
