// Litmus tests of x86's memory model (TSO), the same for the CPUs of a guest and for processes that
// share a file.
//   litmus [--seconds 10] [--test NAME] [--sync tsc|barrier] [--expect-reordering yes|no]
//          [--processes 1 --pool memfd|PATH]
// Threads pinned to CPUs by default; with --processes 1, processes that map the pool each for
// themselves. Exit: 0 ok; 1 an outcome that TSO forbids was seen; 2 inconclusive: the reordering
// that TSO allows (store buffering) was expected and never seen, so the test could not see
// anything.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common.h"
#include "litmus_tests.h"

namespace {

using litmus::kLine;
using litmus::kMaxMembers;
using litmus::kSlots;

// x and y of a slot lie in different pages, so that pages held by different hosts are compared too.
struct Shared {
  alignas(4096) std::atomic<uint64_t> arrived;
  alignas(kLine) std::atomic<uint64_t> round;
  alignas(kLine) std::atomic<uint64_t> start_tsc;
  alignas(kLine) std::atomic<uint64_t> slot_arrived;
  alignas(kLine) std::atomic<uint32_t> stop;
  alignas(4096) litmus::Line x[kSlots];
  alignas(4096) litmus::Line y[kSlots];
  alignas(4096) uint8_t seen[kMaxMembers][kSlots];  // two bits that each member observed
};

// DAX devices map in units of 2 MiB.
constexpr off_t kUnit = 2 << 20;
constexpr off_t kPoolSize = (off_t{sizeof(Shared)} + kUnit - 1) / kUnit * kUnit;

struct Settings {
  std::vector<int> cpus;
  bool processes;
  bool barrier_sync;
  bool reordering_expected;
  std::string pool;
  double seconds;  // for one test
};

uint64_t Tsc() { return __builtin_ia32_rdtsc(); }

void AwaitAll(Shared& shared, size_t members) {
  const uint64_t round = shared.round.load();
  if (shared.arrived.fetch_add(1) + 1 == members) {
    shared.arrived.store(0);
    shared.round.fetch_add(1);
    return;
  }
  guest::Backoff backoff;
  while (shared.round.load() == round) backoff.Wait();
}

// Brings the members to the same slot at the same time, give or take a few dozen cycles,
// differently for each slot. Following the TSC needs no shared line at all; the barrier works
// without a common TSC and when slots take long (a page may have to come from another host).
void Meet(Shared& shared, const Settings& settings, size_t members, size_t slot, guest::Rng& rng) {
  constexpr uint64_t kCyclesPerSlot = 700;
  // Mostly small, for store buffers; at times as long as a cache line travels.
  const uint64_t jitter = rng.Below(rng.Below(4) == 0 ? 512 : 96);
  if (settings.barrier_sync) {
    shared.slot_arrived.fetch_add(1);
    guest::Backoff backoff;
    while (shared.slot_arrived.load() < (slot + 1) * members) backoff.Wait();
    const uint64_t until = Tsc() + jitter;
    while (Tsc() < until) {
    }
  } else {
    const uint64_t until =
        shared.start_tsc.load(std::memory_order_relaxed) + slot * kCyclesPerSlot + jitter;
    while (Tsc() < until) {
    }
  }
}

void OneBatch(Shared& shared, const litmus::Test& test, const Settings& settings, size_t me,
              guest::Rng& rng) {
  uint8_t seen[kSlots];
  AwaitAll(shared, test.members);
  for (size_t slot = 0; slot < kSlots; slot++) {
    Meet(shared, settings, test.members, slot, rng);
    seen[slot] = static_cast<uint8_t>(test.run(me, &shared.x[slot].value, &shared.y[slot].value));
  }
  memcpy(shared.seen[me], seen, sizeof seen);
  AwaitAll(shared, test.members);
}

// Member 0 prepares each batch, counts its outcomes and decides when to stop.
void Member(Shared& shared, const litmus::Test& test, const Settings& settings, size_t me,
            litmus::Counts* counts) {
  guest::Rng rng(me * 7919 + Tsc());
  guest::Deadline deadline(settings.seconds);
  for (;;) {
    if (me == 0) {
      for (size_t slot = 0; slot < kSlots; slot++) {
        shared.x[slot].value = 0;
        shared.y[slot].value = 0;
      }
      shared.stop.store(deadline.Passed() ? 1 : 0);
      shared.slot_arrived.store(0);
      shared.start_tsc.store(Tsc() + 20000);
    }
    AwaitAll(shared, test.members);
    if (shared.stop.load() != 0) return;
    OneBatch(shared, test, settings, me, rng);
    for (size_t slot = 0; me == 0 && slot < kSlots; slot++) {
      uint32_t outcome = 0;
      for (size_t m = 0; m < test.members; m++) outcome |= uint32_t{shared.seen[m][slot]} << 2 * m;
      if (test.final_state) {
        outcome = static_cast<uint32_t>(shared.x[slot].value | shared.y[slot].value << 2);
      }
      counts->Add(outcome);
    }
  }
}

[[noreturn]] void Die(const char* what) {
  perror(what);
  exit(3);
}

int OpenPool(const std::string& pool) {
  const int fd = pool == "memfd" ? static_cast<int>(syscall(SYS_memfd_create, "litmus", 0))
                                 : open(pool.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) Die(pool.c_str());
  // A DAX device has a size of its own. A file with a size that we did not give it is not ours.
  struct stat status {};
  if (fstat(fd, &status) != 0) Die(pool.c_str());
  if (S_ISREG(status.st_mode) && status.st_size != kPoolSize) {
    if (status.st_size != 0) {
      fprintf(stderr, "litmus: %s holds something else\n", pool.c_str());
      exit(3);
    }
    if (ftruncate(fd, kPoolSize) != 0) Die("ftruncate");
  }
  return fd;
}

Shared* MapPool(int fd) {
  void* mapped = mmap(nullptr, kPoolSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) Die("mmap");
  return static_cast<Shared*>(mapped);
}

litmus::Counts RunProcesses(const litmus::Test& test, const Settings& settings) {
  const int fd = OpenPool(settings.pool);
  memset(static_cast<void*>(MapPool(fd)), 0, sizeof(Shared));
  litmus::Counts counts;
  std::vector<pid_t> children;
  for (size_t me = 1; me < test.members; me++) {
    const pid_t child = fork();
    if (child < 0) Die("fork");
    if (child == 0) {
      guest::Pin(settings.cpus[me % settings.cpus.size()]);
      // Its own description of the file where there is a name, and its own mapping in any case.
      Member(*MapPool(settings.pool == "memfd" ? fd : OpenPool(settings.pool)), test, settings, me,
             nullptr);
      _exit(0);
    }
    children.push_back(child);
  }
  guest::Pin(settings.cpus[0]);
  Member(*MapPool(fd), test, settings, 0, &counts);
  for (pid_t child : children) {
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) {
      fprintf(stderr, "litmus: a member process failed\n");
      exit(3);
    }
  }
  close(fd);
  return counts;
}

litmus::Counts RunThreadsHere(const litmus::Test& test, const Settings& settings) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Die("mmap");
  litmus::Counts counts;
  guest::RunThreads(settings.cpus, test.members, [&](size_t me) {
    Member(*static_cast<Shared*>(memory), test, settings, me, &counts);
  });
  munmap(memory, sizeof(Shared));
  return counts;
}

Settings ReadSettings(const guest::Options& options, size_t tests) {
  Settings settings;
  settings.cpus = guest::Cpus();
  settings.processes = options.Number("processes", 0) > 0;
  settings.barrier_sync = options.Text("sync", "tsc") == "barrier";
  settings.pool = options.Text("pool", "memfd");
  settings.seconds = options.Number("seconds", 10) / static_cast<double>(tests);
  settings.reordering_expected =
      options.Text("expect-reordering", settings.processes ? "yes" : "no") == "yes";
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  guest::Options options(argc, argv,
                         {"seconds", "test", "sync", "expect-reordering", "processes", "pool"});
  guest::Verdict verdict("litmus");
  const std::string only = options.Text("test", "");
  std::vector<litmus::Test> tests;
  for (const litmus::Test& test : litmus::kTests) {
    if (only.empty() || only == test.name) tests.push_back(test);
  }
  if (tests.empty()) {
    fprintf(stderr, "litmus: no such test: %s\n", only.c_str());
    return guest::kUsage;
  }
  const Settings settings = ReadSettings(options, tests.size());
  uint64_t total = 0;
  uint64_t reordered = 0;
  bool could_reorder = false;
  for (const litmus::Test& test : tests) {
    const litmus::Counts counts =
        settings.processes ? RunProcesses(test, settings) : RunThreadsHere(test, settings);
    printf("litmus: %s\n", counts.Describe(test).c_str());
    total += counts.Total();
    if (counts.Of(test.marked) == 0) continue;
    if (test.marked_forbidden) {
      verdict.Fail("%s: the forbidden outcome %s was seen %llu times", test.name,
                   litmus::Describe(test, test.marked).c_str(),
                   static_cast<unsigned long long>(counts.Of(test.marked)));
    } else {
      reordered += counts.Of(test.marked);
    }
  }
  for (const litmus::Test& test : tests) could_reorder = could_reorder || !test.marked_forbidden;
  if (verdict.ok() && could_reorder && reordered == 0) {
    if (settings.reordering_expected) {
      printf("litmus: inconclusive\n");
      return 2;
    }
    printf("litmus: one-cpu host: reordering not observable\n");
  }
  return verdict.Finish(guest::Format("members=%s cpus=%zu trials=%llu sb-reordered=%llu",
                                      settings.processes ? "processes" : "threads",
                                      settings.cpus.size(), static_cast<unsigned long long>(total),
                                      static_cast<unsigned long long>(reordered)));
}
