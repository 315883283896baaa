// Time must never go backwards, on any CPU, seen from any other.
//   clock_check [--seconds 20]
// Threads on all CPUs hand the last time they saw from one to the next, once under a lock and once
// through a shared maximum; an earlier time than the one handed over is a warp.
#include <cpuid.h>

#include <memory>
#include <mutex>

#include "common.h"

namespace {

using guest::Format;

// LFENCE keeps the TSC from being read before the shared time was.
uint64_t Tsc() {
  uint32_t low, high;
  asm volatile("lfence\n rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return uint64_t{high} << 32 | low;
}

uint64_t Tscp(uint32_t* aux) {
  uint32_t low, high;
  asm volatile("rdtscp\n lfence" : "=a"(low), "=d"(high), "=c"(*aux) : : "memory");
  return uint64_t{high} << 32 | low;
}

uint64_t ReadClock(clockid_t clock) { return static_cast<uint64_t>(guest::Nanoseconds(clock)); }

struct Clock {
  const char* name;
  const char* unit;
  uint64_t (*read)();
};

const Clock kClocks[] = {
    {"monotonic", "ns", [] { return ReadClock(CLOCK_MONOTONIC); }},
    {"monotonic_raw", "ns", [] { return ReadClock(CLOCK_MONOTONIC_RAW); }},
    {"boottime", "ns", [] { return ReadClock(CLOCK_BOOTTIME); }},
    {"rdtsc", "cycles", Tsc},
    {"rdtscp", "cycles",
     [] {
       uint32_t aux;
       return Tscp(&aux);
     }},
};

struct alignas(64) Warps {
  uint64_t reads = 0;
  uint64_t count = 0;
  uint64_t largest = 0;
  void Look(uint64_t earlier, uint64_t now) {
    reads++;
    if (now >= earlier) return;
    count++;
    largest = std::max(largest, earlier - now);
  }
};

void UnderLock(const Clock& clock, double seconds, std::atomic<int>& lock, uint64_t& last,
               Warps& warps) {
  guest::Deadline deadline(seconds);
  guest::Backoff backoff;
  while (!deadline.Passed()) {
    while (lock.exchange(1, std::memory_order_acquire) != 0) backoff.Wait();
    const uint64_t now = clock.read();
    warps.Look(last, now);
    last = now;
    lock.store(0, std::memory_order_release);
  }
}

void ByMaximum(const Clock& clock, double seconds, std::atomic<uint64_t>& maximum, Warps& warps) {
  guest::Deadline deadline(seconds);
  while (!deadline.Passed()) {
    uint64_t seen = maximum.load();
    const uint64_t now = clock.read();
    warps.Look(seen, now);
    while (seen < now && !maximum.compare_exchange_weak(seen, now)) guest::Pause();
  }
}

uint64_t CheckClock(const Clock& clock, bool lock_variant, double seconds,
                    const std::vector<int>& cpus, guest::Verdict& verdict) {
  std::vector<Warps> warps(cpus.size());
  alignas(64) std::atomic<int> lock{0};
  alignas(64) uint64_t last = 0;
  alignas(64) std::atomic<uint64_t> maximum{0};
  guest::RunThreads(cpus, cpus.size(), [&](size_t me) {
    if (lock_variant) {
      UnderLock(clock, seconds, lock, last, warps[me]);
    } else {
      ByMaximum(clock, seconds, maximum, warps[me]);
    }
  });
  Warps sum;
  for (const Warps& w : warps) {
    sum.reads += w.reads;
    sum.count += w.count;
    sum.largest = std::max(sum.largest, w.largest);
  }
  const char* variant = lock_variant ? "under lock" : "by maximum";
  printf("clock_check: %s %s: %llu reads, %llu warps, largest %llu %s\n", clock.name, variant,
         static_cast<unsigned long long>(sum.reads), static_cast<unsigned long long>(sum.count),
         static_cast<unsigned long long>(sum.largest), clock.unit);
  if (sum.count != 0) {
    verdict.Fail("%s %s went backwards %llu times, by up to %llu %s", clock.name, variant,
                 static_cast<unsigned long long>(sum.count),
                 static_cast<unsigned long long>(sum.largest), clock.unit);
  }
  return sum.reads;
}

bool HasTscp() {
  uint32_t a, b, c, d;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (d & (1u << 27)) != 0;
}

// Linux keeps the CPU's number in TSC_AUX: a vCPU that lost this MSR on its way shows here.
void CheckTscAux(const std::vector<int>& cpus, guest::Verdict& verdict) {
  guest::RunThreads(cpus, cpus.size(), [&](size_t me) {
    for (int i = 0; i < 100; i++) {
      uint32_t aux;
      Tscp(&aux);
      if (static_cast<int>(aux & 0xfff) != cpus[me]) {
        return verdict.Fail("TSC_AUX says cpu %u on cpu %d", aux & 0xfff, cpus[me]);
      }
      usleep(1000);
    }
  });
}

// A sleep may be late, never early.
void CheckSleeps(const std::vector<int>& cpus, double seconds, guest::Verdict& verdict) {
  constexpr int64_t kAsked = 10000000;
  std::vector<int64_t> late;
  std::mutex mutex;
  guest::RunThreads(cpus, cpus.size(), [&](size_t me) {
    guest::Deadline deadline(seconds);
    do {
      const int64_t begin = guest::Nanoseconds();
      usleep(kAsked / 1000);
      const int64_t slept = guest::Nanoseconds() - begin;
      if (slept < kAsked) {
        verdict.Fail("usleep(10 ms) took %lld ns on cpu %d", static_cast<long long>(slept),
                     cpus[me]);
      }
      std::lock_guard<std::mutex> lock(mutex);
      late.push_back(slept - kAsked);
    } while (!deadline.Passed());
  });
  std::sort(late.begin(), late.end());
  auto at = [&late](double share) {
    return static_cast<double>(
               late[static_cast<size_t>(share * static_cast<double>(late.size() - 1))]) /
           1e3;
  };
  printf("clock_check: usleep(10 ms) late by us: min %.0f median %.0f p95 %.0f max %.0f, n %zu\n",
         at(0), at(0.5), at(0.95), at(1), late.size());
}

std::string FirstLine(const char* path) {
  char line[256] = "unknown";
  FILE* file = fopen(path, "r");
  if (file == nullptr) return line;
  if (fscanf(file, "%255s", line) != 1) snprintf(line, sizeof line, "unknown");
  fclose(file);
  return line;
}

// All clocks at one moment, as near as can be.
struct Instant {
  int64_t monotonic = guest::Nanoseconds(CLOCK_MONOTONIC);
  int64_t raw = guest::Nanoseconds(CLOCK_MONOTONIC_RAW);
  int64_t real = guest::Nanoseconds(CLOCK_REALTIME);
  uint64_t tsc = Tsc();
};

}  // namespace

int main(int argc, char** argv) {
  guest::Options options(argc, argv, {"seconds"});
  guest::Verdict verdict("clock_check");
  const double seconds = options.Number("seconds", 20);
  const std::vector<int> cpus = guest::Cpus();
  const std::string source =
      FirstLine("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  printf("clock_check: clocksource %s, %zu cpus\n", source.c_str(), cpus.size());
  const Instant begin;
  const bool tscp = HasTscp();
  const double share = seconds * 0.8 / (2 * std::size(kClocks));
  uint64_t reads = 0;
  for (const Clock& clock : kClocks) {
    if (strcmp(clock.name, "rdtscp") == 0 && !tscp) continue;
    for (const bool lock_variant : {true, false}) {
      reads += CheckClock(clock, lock_variant, share, cpus, verdict);
    }
  }
  if (tscp) CheckTscAux(cpus, verdict);
  CheckSleeps(cpus, seconds * 0.2, verdict);
  const Instant end;
  const double elapsed = static_cast<double>(end.monotonic - begin.monotonic);
  const double real = static_cast<double>(end.real - begin.real);
  const double raw = static_cast<double>(end.raw - begin.raw);
  return verdict.Finish(
      Format("clocksource=%s cpus=%zu seconds=%.1f reads=%llu realtime-monotonic=%.1fus "
             "raw-monotonic=%.1fus tsc=%.3fMHz",
             source.c_str(), cpus.size(), elapsed / 1e9, static_cast<unsigned long long>(reads),
             (real - elapsed) / 1e3, (raw - elapsed) / 1e3,
             static_cast<double>(end.tsc - begin.tsc) / elapsed * 1e3));
}
