// Work that goes on at one rate, for measuring what slows a machine down: how often it is done.
//   steady_work [--work compute|rewrite|wake] [--seconds 5] [--megabytes 5]
// compute: registers only, on each CPU. rewrite: each CPU writes its share of so many MB over and
// over, and finds what it wrote the last time. wake: two threads, on the first and the last CPU,
// wake each other in turns. A unit is 10,000 steps, a share once over, a wake-up.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "common.h"

namespace {

using guest::Format;

struct alignas(64) Count {
  uint64_t units = 0;
};

class Work {
 public:
  Work(std::vector<int> cpus, double seconds) : cpus_(std::move(cpus)), seconds_(seconds) {}

  void Compute(guest::Verdict& verdict) {
    std::vector<Count> counts(cpus_.size());
    std::vector<uint64_t> last(cpus_.size());
    Run(counts.size(), [&](size_t me, const guest::Deadline& end) {
      for (; !end.Passed(); counts[me].units++) last[me] = Steps();
    });
    for (uint64_t value : last) {
      if (value != Steps()) verdict.Fail("a sum is wrong");
    }
    Tell("compute", counts);
  }

  void Rewrite(size_t bytes, guest::Verdict& verdict) {
    std::vector<Count> counts(cpus_.size());
    std::vector<uint64_t> words(bytes / sizeof(uint64_t));
    const size_t share = words.size() / cpus_.size();
    Run(counts.size(), [&](size_t me, const guest::Deadline& end) {
      volatile uint64_t* mine = &words[me * share];
      uint64_t was = 0;
      for (; !end.Passed(); counts[me].units++, was++) {
        for (size_t i = 0; i < share; i++) {
          if (mine[i] != was) verdict.Fail("word %zu is not what was written", i);
          mine[i] = was + 1;
        }
      }
    });
    Tell("rewrite", counts);
  }

  void Wake() {
    std::vector<Count> counts(2);
    std::atomic<uint32_t> turn{0};
    Run(2, [&](size_t me, const guest::Deadline& end) {
      for (;;) {
        const uint32_t seen = turn.load();
        if (seen == kOver) return;
        if (seen % 2 != me) {
          syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
          continue;
        }
        counts[me].units++;
        turn.store(end.Passed() ? kOver : (seen + 1) % kTurns);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
      }
    });
    Tell("wake", counts);
  }

 private:
  static constexpr uint32_t kOver = ~0u, kTurns = 1u << 30;

  static uint64_t Steps() {
    guest::Rng rng(1);
    uint64_t sum = 0;
    for (int i = 0; i < 10'000; i++) sum += rng.Next();
    return sum;
  }
  void Run(size_t threads, const std::function<void(size_t, const guest::Deadline&)>& body) {
    const int64_t from = guest::Nanoseconds();
    const guest::Deadline end(seconds_);
    guest::RunThreads(threads == 2 ? std::vector<int>{cpus_.front(), cpus_.back()} : cpus_, threads,
                      [&](size_t me) { body(me, end); });
    took_ = static_cast<double>(guest::Nanoseconds() - from) / 1e9;
  }
  void Tell(const char* name, const std::vector<Count>& counts) const {
    uint64_t units = 0;
    for (const Count& c : counts) units += c.units;
    printf("steady_work: %s %.2f per second\n", name, static_cast<double>(units) / took_);
  }

  std::vector<int> cpus_;
  double seconds_;
  double took_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  guest::Options options(argc, argv, {"work", "seconds", "megabytes"});
  guest::Verdict verdict("steady_work");
  const std::string what = options.Text("work", "compute");
  const double megabytes = options.Number("megabytes", 5);
  Work work(guest::Cpus(), options.Number("seconds", 5));
  if (megabytes < 1 || megabytes > 4096) {
    fprintf(stderr, "--megabytes: 1 to 4096\n");
    return guest::kUsage;
  }
  if (what == "compute") {
    work.Compute(verdict);
  } else if (what == "rewrite") {
    work.Rewrite(static_cast<size_t>(megabytes * 1e6), verdict);
  } else if (what == "wake") {
    work.Wake();
  } else {
    fprintf(stderr, "--work %s: none of compute, rewrite, wake\n", what.c_str());
    return guest::kUsage;
  }
  return verdict.Finish(Format("work=%s", what.c_str()));
}
