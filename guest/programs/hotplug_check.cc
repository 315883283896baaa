// Takes every CPU but 0 offline and online again, through sysfs, for some rounds.
//   hotplug_check [--rounds 3] [--seconds 300]
// Meanwhile background threads run everywhere and see to it that nobody runs on an offline CPU.
// A CPU that is back must run a thread pinned to it. The last step of a round takes all of them
// offline at once.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include <memory>

#include "common.h"

namespace {

using guest::Format;

// What the background threads compare with. `change` moves before `offline[cpu]` becomes true and
// after it becomes false, so whoever sees the same value before and after a look at a CPU knows
// that the CPU was offline for the whole look.
struct State {
  std::atomic<uint64_t> change{0};
  std::atomic<bool> offline[CPU_SETSIZE] = {};
  std::atomic<bool> done{false};
  std::atomic<uint64_t> looks{0};
};

std::string OnlinePath(int cpu) { return Format("/sys/devices/system/cpu/cpu%d/online", cpu); }

// Returns 0 or the error number.
int WriteOnline(int cpu, bool online) {
  const int fd = open(OnlinePath(cpu).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = write(fd, online ? "1" : "0", 1) == 1 ? 0 : errno;
  close(fd);
  return error;
}

// 1, 0, or -1 if it cannot be told.
int ReadOnline(int cpu) {
  const int fd = open(OnlinePath(cpu).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char digit = 0;
  const bool got = read(fd, &digit, 1) == 1;
  close(fd);
  return got ? digit - '0' : -1;
}

void LookAround(State& state, guest::Verdict& verdict) {
  uint64_t looks = 0;
  while (!state.done.load()) {
    const uint64_t before = state.change.load();
    const int cpu = sched_getcpu();
    if (state.offline[cpu].load() && state.change.load() == before) {
      verdict.Fail("a thread runs on cpu %d, which is offline", cpu);
    }
    // Some sleep, so that wake-ups too must choose among the CPUs that are there.
    if (++looks % 1024 == 0) usleep(500);
  }
  state.looks.fetch_add(looks);
}

bool TakeOffline(int cpu, State& state, guest::Verdict& verdict) {
  const int error = WriteOnline(cpu, false);
  if (error != 0 || ReadOnline(cpu) != 0) {
    verdict.Fail("cpu %d does not go offline: %s", cpu, strerror(error));
    return false;
  }
  state.change.fetch_add(1);
  state.offline[cpu].store(true);
  if (guest::Cpus().empty()) verdict.Fail("no CPU left");
  if (guest::Pin(cpu, gettid())) verdict.Fail("a thread could be pinned to offline cpu %d", cpu);
  return true;
}

// A thread pinned to the CPU must run there, compute, sleep and wake up there.
void CheckRunsOn(int cpu, guest::Verdict& verdict) {
  std::thread([cpu, &verdict] {
    if (!guest::Pin(cpu)) return verdict.Fail("cannot pin to cpu %d: %s", cpu, strerror(errno));
    for (int i = 0; i < 5; i++) {
      const int before = sched_getcpu();
      volatile uint64_t sum = 0;
      for (uint64_t n = 0; n < 100000; n++) sum = sum + n;
      usleep(1000);
      const int after = sched_getcpu();
      if (before != cpu || after != cpu || sum != 4999950000u) {
        verdict.Fail("pinned to cpu %d: ran on %d and %d, sum %llu", cpu, before, after,
                     static_cast<unsigned long long>(sum));
      }
    }
  }).join();
}

bool BringOnline(int cpu, State& state, guest::Verdict& verdict) {
  state.offline[cpu].store(false);
  state.change.fetch_add(1);
  const int error = WriteOnline(cpu, true);
  if (error != 0 || ReadOnline(cpu) != 1) {
    verdict.Fail("cpu %d does not come online: %s", cpu, strerror(error));
    return false;
  }
  CheckRunsOn(cpu, verdict);
  return true;
}

void Round(const std::vector<int>& cpus, State& state, guest::Verdict& verdict) {
  for (int cpu : cpus) {
    if (!TakeOffline(cpu, state, verdict)) return;
    usleep(20000);  // time for the background threads to be wrong
    if (!BringOnline(cpu, state, verdict)) return;
  }
  if (cpus.size() < 2) return;
  for (int cpu : cpus) {
    if (!TakeOffline(cpu, state, verdict)) return;
  }
  usleep(20000);
  for (int cpu : cpus) {
    if (!BringOnline(cpu, state, verdict)) return;
  }
}

void OnHang(int) {
  const char text[] = "hotplug_check: FAIL hang\n";
  if (write(1, text, sizeof text - 1) < 0) _exit(2);
  _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  guest::Options options(argc, argv, {"rounds", "seconds"});
  guest::Verdict verdict("hotplug_check");
  const auto rounds = static_cast<int>(options.Number("rounds", 3));
  const double seconds = options.Number("seconds", 300);
  std::vector<int> cpus;
  for (int cpu : guest::Cpus()) {
    if (cpu != 0 && ReadOnline(cpu) == 1) cpus.push_back(cpu);
  }
  if (cpus.empty()) verdict.Fail("no CPU but 0 can be taken offline (is /sys mounted?)");
  signal(SIGALRM, OnHang);
  alarm(static_cast<unsigned>(seconds) + 120);
  auto state = std::make_unique<State>();
  std::vector<std::thread> background;
  for (size_t i = 0; i < 2 * (cpus.size() + 1); i++) {
    background.emplace_back([&] { LookAround(*state, verdict); });
  }
  guest::Deadline deadline(seconds);
  int round = 0;
  while (round < rounds && verdict.ok() && !deadline.Passed()) {
    const int64_t begin = guest::Nanoseconds();
    Round(cpus, *state, verdict);
    round++;
    printf("hotplug_check: round %d: %zu cpus off and on in %.2f s\n", round, cpus.size(),
           static_cast<double>(guest::Nanoseconds() - begin) / 1e9);
  }
  state->done.store(true);
  for (auto& thread : background) thread.join();
  return verdict.Finish(Format("cpus=%zu rounds=%d looks=%llu", cpus.size(), round,
                               static_cast<unsigned long long>(state->looks.load())));
}
