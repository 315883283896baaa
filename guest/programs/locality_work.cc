// Five ways in which two CPUs use memory, for comparing policies of where vCPUs run. Self-checking.
//   locality_work --workload NAME [--pages N] [--accesses N] [--begin told]
// NAME: two-sharing, private-elsewhere, read-mostly, moving-phases, producer-consumer; what each
// does is in docs/locality.md. Memory is set up first; with `--begin told` it says that it is ready
// and waits for a line. Then each CPU makes its accesses, and the time that both took together is
// printed.
#include <sys/mman.h>

#include "common.h"

namespace {

constexpr size_t kPage = 4096, kLine = 64, kLinesOfPage = kPage / kLine;
constexpr size_t kWorkers = 2, kPhases = 4;

// A line holds how often it was written. All the workloads count what they write, so that at the
// end nothing may be missing.
class Area {
 public:
  explicit Area(size_t pages) : pages_(pages) {
    void* at =
        mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
      perror("mmap");
      exit(1);
    }
    madvise(at, pages * kPage, MADV_NOHUGEPAGE);
    lines_ = static_cast<std::byte*>(at);
  }
  ~Area() { munmap(lines_, pages_ * kPage); }
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;
  size_t pages() const { return pages_; }
  std::atomic<uint64_t>& line(size_t page, size_t line) {
    return *reinterpret_cast<std::atomic<uint64_t>*>(lines_ + page * kPage + line * kLine);
  }
  // By whoever is to have the pages at first.
  void Fill() {
    for (size_t page = 0; page < pages_; page++) line(page, 0).store(0);
  }
  uint64_t Sum() {
    uint64_t sum = 0;
    for (size_t page = 0; page < pages_; page++) {
      for (size_t l = 0; l < kLinesOfPage; l++) sum += line(page, l).load();
    }
    return sum;
  }

 private:
  const size_t pages_;
  std::byte* lines_ = nullptr;
};

struct Job {
  size_t pages, accesses;
  bool to_be_told = false;
  std::atomic<bool> told{false};
  std::atomic<uint64_t> written{0};
  std::atomic<int64_t> time{0};
  guest::Verdict verdict{"locality_work"};
  guest::Barrier barrier{kWorkers};

  // Some lines of the page, each read, or written once more.
  void Touch(Area& area, size_t page, bool write, uint64_t* count) {
    for (size_t l = 0; l < kLinesOfPage; l += 4) {
      if (write) {
        area.line(page, l).fetch_add(1);
      } else {
        read_ += area.line(page, l).load() != ~uint64_t{0} ? 1u : 0u;
      }
    }
    if (write) *count += kLinesOfPage / 4;
  }
  // `prepare` in each thread, then `work`, whose time counts.
  void Run(const std::function<void(size_t)>& prepare,
           const std::function<void(size_t, guest::Rng&, uint64_t*)>& work) {
    guest::RunThreads(guest::Cpus(), kWorkers, [&](size_t me) {
      prepare(me);
      barrier.Wait();
      if (to_be_told) WaitUntilTold(me);
      guest::Rng rng(me + 1);
      uint64_t count = 0;
      const int64_t begin = guest::Nanoseconds();
      work(me, rng, &count);
      time += guest::Nanoseconds() - begin;
      written += count;
    });
  }
  // Asleep, so that nothing is seen of them meanwhile.
  void WaitUntilTold(size_t me) {
    if (me != 0) return told.wait(false);
    puts("locality_work: ready");
    for (int c = getchar(); c != '\n' && c != EOF;) c = getchar();
    told = true;
    told.notify_all();
  }
  void Check(uint64_t sum) {
    if (sum != written.load())
      verdict.Fail("%llu writes, found %llu", static_cast<unsigned long long>(written.load()),
                   static_cast<unsigned long long>(sum));
  }
  static thread_local uint64_t read_;
};
thread_local uint64_t Job::read_ = 0;

void TwoSharing(Job& job) {
  Area area(job.pages);
  job.Run(
      [&](size_t me) {
        if (me == 0) area.Fill();
      },
      [&](size_t, guest::Rng& rng, uint64_t* count) {
        for (size_t i = 0; i < job.accesses; i++)
          job.Touch(area, rng.Below(job.pages), rng.Below(2) == 0, count);
      });
  job.Check(area.Sum());
}

void PrivateElsewhere(Job& job) {
  Area areas[kWorkers] = {Area(job.pages), Area(job.pages)};
  job.Run([&](size_t me) { areas[1 - me].Fill(); },
          [&](size_t me, guest::Rng& rng, uint64_t* count) {
            for (size_t i = 0; i < job.accesses; i++)
              job.Touch(areas[me], rng.Below(job.pages), rng.Below(10) < 3, count);
          });
  job.Check(areas[0].Sum() + areas[1].Sum());
}

void ReadMostly(Job& job) {
  Area area(job.pages);
  job.Run(
      [&](size_t me) {
        if (me == 0) area.Fill();
      },
      [&](size_t, guest::Rng& rng, uint64_t* count) {
        for (size_t i = 0; i < job.accesses; i++)
          job.Touch(area, rng.Below(job.pages), rng.Below(1000) == 0, count);
      });
  job.Check(area.Sum());
}

void MovingPhases(Job& job) {
  Area areas[kWorkers] = {Area(job.pages), Area(job.pages)};
  job.Run([&](size_t me) { areas[me].Fill(); },
          [&](size_t me, guest::Rng& rng, uint64_t* count) {
            for (size_t phase = 0; phase < kPhases; phase++) {
              if (phase != 0) job.barrier.Wait();
              Area& mine = areas[(me + phase) % kWorkers];
              for (size_t i = 0; i < job.accesses / kPhases; i++)
                job.Touch(mine, rng.Below(job.pages), rng.Below(10) < 3, count);
            }
          });
  job.Check(areas[0].Sum() + areas[1].Sum());
}

// The consumer is half a ring behind; a line's number never goes back.
void ProducerConsumer(Job& job) {
  Area ring(job.pages);
  std::vector<uint64_t> last(job.pages);
  job.Run(
      [&](size_t me) {
        if (me == 0) ring.Fill();
      },
      [&](size_t me, guest::Rng&, uint64_t* count) {
        for (size_t i = 0; i < job.accesses; i++) {
          const size_t page = (i + (me == 0 ? job.pages / 2 : 0)) % job.pages;
          if (me == 0) {
            job.Touch(ring, page, true, count);
            continue;
          }
          job.Touch(ring, page, false, count);
          const uint64_t now = ring.line(page, 0).load();
          if (now < last[page]) job.verdict.Fail("page %zu went back", page);
          last[page] = now;
        }
      });
  job.Check(ring.Sum());
}

struct Workload {
  const char* name;
  void (*run)(Job& job);
  size_t pages, accesses;  // of each CPU, unless others are asked for
};
constexpr Workload kWorkloads[] = {
    {"two-sharing", TwoSharing, 768, 4000},
    {"private-elsewhere", PrivateElsewhere, 1024, 4000},
    {"read-mostly", ReadMostly, 768, 4000},
    {"moving-phases", MovingPhases, 768, 8000},
    {"producer-consumer", ProducerConsumer, 768, 4000},
};

}  // namespace

int main(int argc, char** argv) {
  const guest::Options options(argc, argv, {"workload", "pages", "accesses", "begin"});
  const std::string name = options.Text("workload", "");
  for (const Workload& workload : kWorkloads) {
    if (name != workload.name) continue;
    Job job{static_cast<size_t>(options.Number("pages", static_cast<double>(workload.pages))),
            static_cast<size_t>(options.Number("accesses", static_cast<double>(workload.accesses))),
            options.Text("begin", "at-once") == "told"};
    if (const auto begin = options.Text("begin", "told"); begin != "told") {
      fprintf(stderr, "%s: --begin: found '%s'; allowed: told\n", argv[0], begin.c_str());
      return guest::kUsage;
    }
    if (job.pages == 0 || guest::Cpus().size() < kWorkers) {
      fprintf(stderr, "%s: needs 2 CPUs and a page\n", argv[0]);
      return guest::kUsage;
    }
    workload.run(job);
    return job.verdict.Finish(guest::Format("workload=%s ms=%lld", workload.name,
                                            static_cast<long long>(job.time.load() / 1000000)));
  }
  fprintf(stderr, "%s: --workload: found '%s'; allowed:", argv[0], name.c_str());
  for (const Workload& workload : kWorkloads) fprintf(stderr, " %s", workload.name);
  fprintf(stderr, "\n");
  return guest::kUsage;
}
