// Tiny guests on the machine's real KVM: what a guest can do, and that the host stands it.
#include "tests/kvm/tiny_machine.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u32 kLongMs = 60'000;          // the lab is slow
constexpr u64 kSoonNs = 10'000'000'000;  // to end what should end at once

std::unique_ptr<TinyMachine> make(const std::string& guest, TinyOptions options = {}) {
  auto made = TinyMachine::create(guest, options);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? made.take() : nullptr;
}

template <typename Condition>
bool eventually(Condition&& condition, u32 milliseconds = kLongMs) {
  const u64 limit = fabric::monotonic_ns() + milliseconds * 1'000'000ull;
  while (!condition()) {
    if (fabric::monotonic_ns() > limit) return false;
    const timespec moment{0, 1'000'000};
    ::nanosleep(&moment, nullptr);
  }
  return true;
}

// Where KVM takes only one, that one twice.
constexpr auto injections = [] { return std::array{Injection::queued, host_injection()}; };

TEST(TinyGuest, SaysHelloAndPowersOff) {
  DVM_NEEDS_KVM();
  const auto tiny = make("hello");
  ASSERT_TRUE(tiny->boot().ok());
  ASSERT_TRUE(tiny->wait_while_running(kLongMs));
  tiny->join();
  EXPECT_EQ(tiny->console(), "hello\n");
  EXPECT_EQ(tiny->phase(), Phase::stopped);
  EXPECT_EQ(tiny->reason(), StopReason::shutdown);
  tiny->expect_untouched();
}

TEST(TinyGuest, ATripleFaultStopsUnderExitAndResetsUnderReboot) {
  DVM_NEEDS_KVM();
  for (const bool exit_on_panic : {true, false}) {
    const auto tiny = make("triple_fault", {.exit_on_panic = exit_on_panic});
    ASSERT_TRUE(tiny->boot().ok());
    ASSERT_TRUE(tiny->wait_while_running(kLongMs));
    tiny->join();
    EXPECT_EQ(tiny->phase(), exit_on_panic ? Phase::stopped : Phase::resetting);
    EXPECT_EQ(tiny->reason(), exit_on_panic ? StopReason::panic : StopReason::none);
    tiny->expect_untouched();
  }
}

TEST(TinyGuest, ARebootRunsTheGuestAgainFromTheStart) {
  DVM_NEEDS_KVM();
  const auto tiny = make("triple_fault", {.exit_on_panic = false});
  for (u32 boot = 1; boot <= 3; ++boot) {
    ASSERT_TRUE(tiny->boot().ok());
    ASSERT_TRUE(tiny->wait_while_running(kLongMs)) << boot;
    tiny->join();
    ASSERT_EQ(tiny->phase(), Phase::resetting);
    EXPECT_EQ(tiny->machine().state().control.boots.load(), boot);
  }
}

TEST(TinyGuest, AHaltWithInterruptsOffIsEndedByStop) {
  DVM_NEEDS_KVM();
  for (const Injection injection : injections()) {
    const auto tiny = make("halt", {.injection = injection});
    ASSERT_TRUE(tiny->boot().ok());
    ASSERT_TRUE(eventually([&] { return tiny->halted(0); }));
    EXPECT_FALSE(tiny->wait_while_running(100));
    EXPECT_LT(tiny->stop(), kSoonNs);
    EXPECT_EQ(tiny->machine().state().vcpus[0].counters.halts, 1u);
    EXPECT_EQ(tiny->console(), "H");
    EXPECT_EQ(tiny->reason(), StopReason::user);
  }
}

TEST(TinyGuest, AGuestThatNeverExitsIsEndedByStop) {
  DVM_NEEDS_KVM();
  const auto tiny = make("count");
  ASSERT_TRUE(tiny->boot().ok());
  ASSERT_TRUE(eventually([&] { return tiny->word(0) > 1000; }));
  EXPECT_LT(tiny->stop(), kSoonNs);
  tiny->expect_untouched();
}

TEST(TinyGuest, PauseStopsItAndResumeGoesOnWhereItWas) {
  DVM_NEEDS_KVM();
  const auto tiny = make("count");
  Machine& machine = tiny->machine();
  ASSERT_TRUE(tiny->boot().ok());
  ASSERT_TRUE(eventually([&] { return tiny->word(0) > 1000; }));
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(machine.request_pause());
    ASSERT_TRUE(eventually([&] { return machine.all_parked(); }));
    const u32 before = tiny->word(0);
    const timespec moment{0, 20'000'000};
    ::nanosleep(&moment, nullptr);
    ASSERT_EQ(tiny->word(0), before);
    ASSERT_TRUE(machine.request_resume());
    ASSERT_TRUE(eventually([&] { return tiny->word(0) != before; }));
  }
  EXPECT_LT(tiny->stop(), kSoonNs);
}

TEST(TinyGuest, APausedOneCanBeStoppedOrReset) {
  DVM_NEEDS_KVM();
  const auto tiny = make("count");
  Machine& machine = tiny->machine();
  ASSERT_TRUE(tiny->boot().ok());
  ASSERT_TRUE(machine.request_pause());
  ASSERT_TRUE(eventually([&] { return machine.all_parked(); }));
  machine.request_reset();
  tiny->join();
  EXPECT_EQ(tiny->phase(), Phase::resetting);
  ASSERT_TRUE(tiny->boot().ok());
  ASSERT_TRUE(machine.request_pause());
  EXPECT_LT(tiny->stop(), kSoonNs);
}

void run_timer(u32 percent, u32 shots, u32 ticks, Injection injection) {
  const auto tiny = make("timer", {.tsc_percent = percent, .injection = injection});
  tiny->set_words({shots, ticks, 0});
  ASSERT_TRUE(tiny->boot().ok());
  EXPECT_TRUE(tiny->wait_while_running(kLongMs)) << "took " << tiny->word(2) << " of " << shots;
  tiny->stop();
  EXPECT_EQ(tiny->word(2), shots);
  EXPECT_EQ(tiny->reason(), StopReason::shutdown);
}

TEST(TinyGuest, EveryDeadlineTimerShotArrivesWhileItRuns) {
  DVM_NEEDS_KVM();
  for (const Injection injection : injections()) run_timer(100, 200, 2'000'000, injection);
}

// The host's clock runs ahead of the TSC's nominal frequency: signals come before their deadline.
TEST(TinyGuest, ATimerSignalThatComesTooEarlyIsNotTheLast) {
  DVM_NEEDS_KVM();
  for (const Injection injection : injections()) run_timer(110, 5, 400'000'000, injection);
}

void run_smp(u32 nodes, u32 rounds, u32 ipis, u32 sipis, Injection injection = host_injection()) {
  const auto tiny = make("smp", {.vcpus = 2, .nodes = nodes, .injection = injection});
  tiny->set_words({0, rounds, 0, 0, 0, ipis, sipis, 0});
  ASSERT_TRUE(tiny->boot().ok());
  EXPECT_TRUE(tiny->wait_while_running(kLongMs))
      << "counter " << tiny->word(0) << ", starts " << tiny->word(2) << ", IPIs " << tiny->word(4);
  tiny->stop();
  EXPECT_EQ(tiny->reason(), StopReason::shutdown);
  EXPECT_EQ(tiny->word(0), 2 * rounds) << "locked increments by both";
  EXPECT_EQ(tiny->word(2), 1u) << "started once";
  EXPECT_EQ(tiny->word(4), ipis) << "each IPI taken once";
  tiny->expect_untouched();
}

TEST(TinyGuest, TwoVcpusOfOneNodeShareMemoryAndInterrupts) {
  DVM_NEEDS_KVM();
  run_smp(1, 100'000, 300, 2);
}

TEST(TinyGuest, TwoVcpusOfTwoNodesShareMemoryAndInterrupts) {
  DVM_NEEDS_KVM();
  for (const Injection injection : injections()) run_smp(2, 100'000, 300, 2, injection);
}

TEST(TinyGuest, ASipiThatComesWhileTheVcpuIsStartingChangesNothing) {
  DVM_NEEDS_KVM();
  for (u32 i = 0; i < 5; ++i) run_smp(2, 1000, 3, 500);
}

struct Rubbish {
  u64 seed;
  u64 count;
};
class RubbishGuest : public ::testing::TestWithParam<Rubbish> {};

TEST_P(RubbishGuest, TheHostStandsIt) {
  DVM_NEEDS_KVM();
  const auto tiny = make("rubbish", {.nodes = 1, .exit_on_panic = false});
  tiny->set_parameters({GetParam().seed, GetParam().count, layout::kMinMemory});
  ASSERT_TRUE(tiny->boot().ok());
  // It ends by a power-off, a reset, or halted for good behind its DONE.
  eventually(
      [&] {
        tiny->console();
        return tiny->phase() != Phase::running || tiny->halted(0);
      },
      10'000);
  const bool done = tiny->console().find("DONE\n") != std::string::npos;
  RecordProperty("done", done ? 1 : 0);
  EXPECT_NE(tiny->reason(), StopReason::error) << "KVM could go on, whatever the guest did";
  EXPECT_LT(tiny->stop(), kSoonNs);
  tiny->expect_untouched();
}

std::vector<Rubbish> rubbish_runs() {
  std::vector<Rubbish> runs;
  for (u64 seed = 1; seed <= 12; ++seed)
    runs.push_back({seed * 7919, seed % 4 == 0 ? 30'000u : 3'000u});
  return runs;
}
INSTANTIATE_TEST_SUITE_P(Seeds, RubbishGuest, ::testing::ValuesIn(rubbish_runs()),
                         [](const auto& p) { return fmt::format("seed{}", p.param.seed); });

}  // namespace
}  // namespace dvm::vmm
