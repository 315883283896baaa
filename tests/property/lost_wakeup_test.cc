// No interrupt is ever lost between a sender and a vCPU that sleeps, runs or is between the two.
// The senders are the real thing, Machine::send from several threads with handles of their own. The
// vCPU is a model of VcpuThread: the same words written in the same order around sleep and entry,
// with a thread that waits for its kick signal in place of KVM_RUN.
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u32 kReceiver = 0;
constexpr u64 kLongNs = 10'000'000'000;  // nothing takes that long unless a wakeup was lost
constexpr u8 kFirstVector = 0x40;

class ModelVcpu {
 public:
  ModelVcpu(Machine& machine, u32 senders, u64 seed)
      : machine_(machine), v_(machine.state().vcpus[kReceiver]), random_(seed), taken_(senders) {}

  u64 taken(u32 sender) const { return taken_[sender].load(std::memory_order_acquire); }
  u32 nmis() const { return nmis_.load(std::memory_order_acquire); }
  bool lost() const { return lost_.load(); }

  void run() {
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, fabric::kick_signal());
    ::pthread_sigmask(SIG_BLOCK, &kick, nullptr);  // one that came early makes the wait return
    v_.pid.store(::getpid());
    v_.tid.store(static_cast<i32>(::syscall(SYS_gettid)));
    v_.run_state.store(VcpuRunState::outside);
    while (machine_.state().control.phase.load() == Phase::running && !lost_.load()) {
      take();
      if (random_() % 2 == 0) {
        sleep();
      } else {
        enter(kick);
      }
    }
    v_.run_state.store(VcpuRunState::absent);
  }

 private:
  void take() {
    if ((v_.inbox.signals.fetch_and(~kSignalNmi) & kSignalNmi) != 0)
      nmis_.fetch_add(1, std::memory_order_release);
    while (const auto vector = lapic_pending(v_.lapic, v_.inbox)) {
      lapic_accept(v_.lapic, v_.inbox, *vector);
      lapic_eoi(v_.lapic, v_.inbox);
      taken_[*vector - kFirstVector].fetch_add(1, std::memory_order_release);
      if (random_() % 4 == 0) std::this_thread::yield();
    }
  }
  bool has_work() const {
    return machine_.state().control.phase.load() != Phase::running ||
           v_.inbox.signals.load() != 0 || lapic_pending(v_.lapic, v_.inbox).has_value();
  }
  void sleep() {
    const u32 seen = fabric::listen(v_.bell);
    v_.run_state.store(VcpuRunState::halted, std::memory_order_seq_cst);
    if (!has_work()) {
      const u64 limit = fabric::monotonic_ns() + kLongNs;
      fabric::wait(v_.bell, seen, limit);
      if (fabric::monotonic_ns() >= limit) lost_.store(true);
    }
    v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
  }
  void enter(const sigset_t& kick) {
    v_.run_state.store(VcpuRunState::in_guest, std::memory_order_seq_cst);
    if (!has_work()) {
      const timespec limit{static_cast<time_t>(kLongNs / 1'000'000'000), 0};
      if (::sigtimedwait(&kick, nullptr, &limit) < 0 && errno == EAGAIN) lost_.store(true);
    }
    v_.run_state.store(VcpuRunState::outside, std::memory_order_seq_cst);
  }

  Machine& machine_;
  VcpuRecord& v_;
  std::mt19937_64 random_;
  std::vector<std::atomic<u64>> taken_;
  std::atomic<u32> nmis_{0};
  std::atomic<bool> lost_{false};
};

struct Scenario {
  u32 senders;
  u64 rounds;
  u64 seed;
};

class LostWakeup : public ::testing::TestWithParam<Scenario> {};

// Sends its own vector, and goes on once it has been taken: so each one counts.
void send_each(Machine& machine, const ModelVcpu& vcpu, u32 sender, const Scenario& run) {
  std::mt19937_64 random(run.seed * 1000 + sender);
  InterruptMessage message;
  message.destination = kReceiver;
  message.vector = static_cast<u8>(kFirstVector + sender);
  for (u64 n = 1; n <= run.rounds && !vcpu.lost(); ++n) {
    machine.send(message, random() % 2 == 0 ? Sender(sender + 1) : std::nullopt);
    while (vcpu.taken(sender) < n && !vcpu.lost()) std::this_thread::yield();
    for (u64 pause = random() % 64; pause != 0; --pause) __builtin_ia32_pause();
  }
}

TEST_P(LostWakeup, EveryInterruptIsTakenOnce) {
  const Scenario run = GetParam();
  const auto machine = make_machine(machine_spec(run.senders + 1));
  enable_lapic(machine->state().vcpus[kReceiver]);
  ModelVcpu vcpu(*machine, run.senders, run.seed);
  std::thread receiver([&] { vcpu.run(); });
  std::vector<std::unique_ptr<Machine>> handles;
  for (u32 i = 0; i < run.senders; ++i) handles.push_back(attach_again(*machine, i + 1));
  std::vector<std::thread> threads;
  for (u32 i = 0; i < run.senders; ++i)
    threads.emplace_back([&, i] { send_each(*handles[i], vcpu, i, run); });
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(vcpu.lost());
  InterruptMessage nmi;
  nmi.mode = DeliveryMode::nmi;
  machine->send(nmi, std::nullopt);
  while (vcpu.nmis() == 0 && !vcpu.lost()) std::this_thread::yield();
  machine->request_stop(StopReason::user);
  receiver.join();
  EXPECT_FALSE(vcpu.lost()) << "the stop reached it";
  for (u32 i = 0; i < run.senders; ++i) EXPECT_EQ(vcpu.taken(i), run.rounds);
  EXPECT_FALSE(lapic_any_requested(machine->state().vcpus[kReceiver].inbox));
}

INSTANTIATE_TEST_SUITE_P(Interleavings, LostWakeup,
                         ::testing::Values(Scenario{1, 20'000, 1}, Scenario{2, 8'000, 2},
                                           Scenario{4, 4'000, 3}, Scenario{8, 1'000, 4}),
                         [](const auto& p) { return fmt::format("senders{}", p.param.senders); });

}  // namespace
}  // namespace dvm::vmm
