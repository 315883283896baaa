#include "tools/bench/move_machinery.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>

#include "tools/bench/migrate_report.h"
#include "vmm/vcpu_passage.h"

namespace dvm::tools {
namespace {

using vmm::PlaceStage;
using vmm::PlaceStep;

constexpr u8 kHere = 0, kThere = 1;
constexpr double kLimitUs = 100;
constexpr u64 kGuestNs = 300'000;  // the vCPU runs for so long before it moves again
constexpr u64 kPatienceNs = 10'000'000'000;
constexpr u32 kWarmUp = 20, kMsrs = 120;  // more than any host's KVM lists today
constexpr std::array<const char*, 4> kParts = {"seal", "wake-up", "copy-check", "settle"};

// What of the pool a move uses.
struct Desk {
  vmm::VcpuRecord vcpu;
  vmm::VcpuState state;
};

struct Samples {
  Series pause_us;
  std::array<Series, kParts.size()> parts_us;
};

void stay_on(u32 cpu) {
  const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % static_cast<u32>(std::max(cpus, 1l)), &set);
  ::sched_setaffinity(0, sizeof set, &set);
}

// One node's thread for the vCPU.
class Side {
 public:
  Side(Desk& desk, u8 node) : desk_(desk), node_(node) {
    sigevent none{};
    none.sigev_notify = SIGEV_NONE;
    ::timer_create(CLOCK_MONOTONIC, &none, &timer_);
  }
  ~Side() { ::timer_delete(timer_); }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  // False: it does not come.
  bool await_vcpu() {
    const u64 until = fabric::monotonic_ns() + kPatienceNs;
    for (;;) {
      const u32 seen = fabric::listen(desk_.vcpu.arrival);
      const vmm::VcpuPlace place = desk_.vcpu.where();
      if (place.node == node_ && place.stage == PlaceStage::arriving) return take_over();
      if (place.node == node_) return true;
      if (fabric::monotonic_ns() > until) return false;
      fabric::wait(desk_.vcpu.arrival, seen, until);
    }
  }
  void run_guest() const {
    const u64 until = fabric::monotonic_ns() + kGuestNs;
    while (fabric::monotonic_ns() < until) {
    }
  }
  // What is prepared while the guest runs is not the pause's.
  void hand_over(u8 to) {
    vmm::VcpuRecord& v = desk_.vcpu;
    vmm::take_step(v.place, {PlaceStep::Kind::ask, to});
    vmm::take_step(v.place, {PlaceStep::Kind::prepared, to});
    vmm::note_instant(v.move.begun);
    ++desk_.state.tsc_offset;
    vmm::seal_vcpu_state(desk_.state, 0);
    const itimerspec never{};
    ::timer_settime(timer_, 0, &never, nullptr);
    vmm::commit_move(v, node_);
  }

 private:
  bool take_over() {
    vmm::VcpuRecord& v = desk_.vcpu;
    const Status good = vmm::copy_vcpu_state(v, desk_.state, 0, desk_.state.injection, copy_);
    vmm::take_step(v.place, {PlaceStep::Kind::arrived, node_});
    vmm::note_instant(v.move.entered);
    return good.ok();
  }

  Desk& desk_;
  const u8 node_;
  timer_t timer_{};
  vmm::VcpuState copy_{};
};

void add(const vmm::VcpuMove& m, Samples& samples) {
  const auto us = [](const std::atomic<u64>& from, const std::atomic<u64>& to) {
    return static_cast<double>(to.load() - from.load()) / 1000;
  };
  samples.pause_us.push_back(us(m.begun, m.entered));
  samples.parts_us[0].push_back(us(m.begun, m.committed));
  samples.parts_us[1].push_back(us(m.committed, m.woken));
  samples.parts_us[2].push_back(us(m.woken, m.checked));
  samples.parts_us[3].push_back(us(m.checked, m.entered));
}

[[noreturn]] void other_process(Desk& desk, u32 cpu) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  stay_on(cpu);
  Side side(desk, kThere);
  while (side.await_vcpu()) {
    side.run_guest();
    side.hand_over(kHere);
  }
  ::_exit(1);
}

// Moves to this process count, from one that is on `cpu`.
Result<Samples> measure(Desk& desk, u32 moves, u32 cpu) {
  desk.vcpu.place.store(vmm::VcpuPlace{.node = kHere}.packed());
  const pid_t other = ::fork();
  if (other < 0) return sys_error("fork");
  if (other == 0) other_process(desk, cpu);
  stay_on(0);
  Samples samples;
  Side side(desk, kHere);
  bool there = true;
  for (u32 i = 0; i < kWarmUp + moves && there; ++i) {
    side.run_guest();
    side.hand_over(kThere);
    there = side.await_vcpu();
    if (there && i >= kWarmUp) add(desk.vcpu.move, samples);
  }
  ::kill(other, SIGKILL);
  ::waitpid(other, nullptr, 0);
  if (!there) return error("the other process does not give the vCPU back");
  return samples;
}

void add_results(const std::string& name, const Samples& samples,
                 std::vector<BenchResult>& results) {
  results.push_back(limited_result(name, samples.pause_us, kLimitUs));
  for (std::size_t i = 0; i < kParts.size(); ++i)
    results.push_back(plain_result(name + "." + kParts[i], samples.parts_us[i]));
}

}  // namespace

Result<std::vector<BenchResult>> measure_machinery(u32 moves) {
  void* p =
      ::mmap(nullptr, sizeof(Desk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return sys_error("mmap");
  const auto unmap = [](Desk* desk) { ::munmap(desk, sizeof(Desk)); };
  const std::unique_ptr<Desk, decltype(unmap)> desk(new (p) Desk(), unmap);
  desk->state.parts = vmm::kPartXsave;
  desk->state.msr_count = kMsrs;
  desk->state.vector = vmm::kNoWaitingVector;
  std::vector<BenchResult> results;
  DVM_ASSIGN(const Samples two, measure(*desk, moves, 1));
  add_results("machinery", two, results);
  DVM_ASSIGN(const Samples one, measure(*desk, moves, 0));
  add_results("machinery-one-cpu", one, results);
  return results;
}

}  // namespace dvm::tools
