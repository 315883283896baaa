// vCPUs that move between two VMs while their guest runs: what they are does not change.
#include "migration/vcpu_mover.h"
#include "tests/kvm/absent_page.h"
#include "tests/kvm/tiny_machine.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u32 kLongMs = 60'000;

constexpr auto injections = [] { return std::array{Injection::queued, host_injection()}; };

template <typename Condition>
bool eventually(Condition&& condition) {
  const u64 limit = fabric::monotonic_ns() + kLongMs * 1'000'000ull;
  while (!condition()) {
    if (fabric::monotonic_ns() > limit) return false;
    const timespec moment{0, 1'000'000};
    ::nanosleep(&moment, nullptr);
  }
  return true;
}

std::unique_ptr<TinyMachine> make(const std::string& guest, TinyOptions options) {
  auto made = TinyMachine::create(guest, options);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? made.take() : nullptr;
}

void move(TinyMachine& tiny, u32 vcpu, u32 to) {
  const auto moved = migration::move_vcpu(tiny.machine(), vcpu, to);
  ASSERT_TRUE(moved.ok()) << moved.error().message;
  EXPECT_TRUE(moved->moved);
  EXPECT_EQ(tiny.vcpu(vcpu).node(), to);
}

// Words of move.S.
constexpr u32 kRounds = 0, kTicks = 2, kWrong = 4;

TEST(VcpuMove, ARunningOneKeepsAllItHasAndItsTimer) {
  DVM_NEEDS_KVM();
  for (const Injection injection : injections()) {
    const auto tiny = make("move", {.nodes = 2, .injection = injection});
    tiny->set_words({0, ~0u, 0, 10'000'000, 0});
    ASSERT_TRUE(tiny->boot().ok());
    ASSERT_TRUE(eventually([&] { return tiny->word(kTicks) > 2; }));
    for (u32 i = 0; i < 20; ++i) {
      const u32 rounds = tiny->word(kRounds), ticks = tiny->word(kTicks);
      ASSERT_NO_FATAL_FAILURE(move(*tiny, 0, 1 - i % 2)) << i;
      ASSERT_TRUE(eventually([&] {
        return tiny->word(kRounds) > rounds + 8 && tiny->word(kTicks) > ticks;
      })) << "move "
          << i;
    }
    EXPECT_EQ(tiny->word(kWrong), 0u);
    EXPECT_EQ(tiny->vcpu(0).where().moves, 20u);
    tiny->stop();
    tiny->expect_untouched();
  }
}

TEST(VcpuMove, AHaltedOneStaysHaltedAndAnInterruptStillEndsIt) {
  DVM_NEEDS_KVM();
  for (const Injection injection : injections()) {
    const auto tiny = make("halt", {.nodes = 2, .injection = injection});
    ASSERT_TRUE(tiny->boot().ok());
    ASSERT_TRUE(eventually([&] { return tiny->halted(0); }));
    for (const u32 to : {1u, 0u, 1u}) {
      ASSERT_NO_FATAL_FAILURE(move(*tiny, 0, to));
      ASSERT_TRUE(eventually([&] { return tiny->halted(0); }));
    }
    EXPECT_EQ(tiny->console(), "H") << "it has not run on";
    EXPECT_FALSE(tiny->wait_while_running(50));
    tiny->stop();
  }
}

TEST(VcpuMove, APausedOneMovesAndGoesOnFromThere) {
  DVM_NEEDS_KVM();
  const auto tiny = make("move", {.nodes = 2});
  tiny->set_words({0, ~0u, 0, 10'000'000, 0});
  ASSERT_TRUE(tiny->boot().ok());
  ASSERT_TRUE(eventually([&] { return tiny->word(kTicks) > 2; }));
  Machine& machine = tiny->machine();
  for (const u32 to : {1u, 0u, 1u, 0u}) {
    ASSERT_TRUE(machine.request_pause());
    ASSERT_TRUE(eventually([&] { return machine.all_parked(); }));
    const u32 rounds = tiny->word(kRounds);
    ASSERT_NO_FATAL_FAILURE(move(*tiny, 0, to));
    ASSERT_TRUE(eventually([&] { return machine.all_parked(); }));
    EXPECT_EQ(tiny->word(kRounds), rounds) << "it stood still";
    ASSERT_TRUE(machine.request_resume());
    ASSERT_TRUE(eventually([&] { return tiny->word(kRounds) > rounds + 8; }));
  }
  EXPECT_EQ(tiny->word(kWrong), 0u);
  tiny->stop();
}

// The second vCPU waits for SIPI while it moves; then the IPIs of smp.S cross the nodes as it moves
// on.
TEST(VcpuMove, OneThatWaitsToBeStartedIsStartedWhereItIs) {
  DVM_NEEDS_KVM();
  for (const Injection injection : injections()) {
    const auto tiny = make("smp", {.vcpus = 2, .nodes = 2, .injection = injection});
    tiny->set_words({0, 1000, 0, 0, 0, 300, 2, 0});
    Machine& machine = tiny->machine();
    machine.state().nodes[0].stage.store(NodeStage::active);
    ASSERT_TRUE(tiny->boot().ok());
    u32 to = 0, moves = 0;
    while (tiny->phase() == Phase::running && moves < 400) {
      const auto moved = migration::move_vcpu(machine, 1, to);
      if (!moved.ok()) break;  // it powered off meanwhile
      ++moves;
      to = 1 - to;
    }
    EXPECT_TRUE(tiny->wait_while_running(kLongMs));
    tiny->join();
    EXPECT_EQ(tiny->reason(), StopReason::shutdown);
    EXPECT_EQ(tiny->word(0), 2000u) << "sums";
    EXPECT_EQ(tiny->word(2), 1u) << "started once";
    EXPECT_EQ(tiny->word(4), 300u) << "every IPI arrived, once";
    EXPECT_GT(moves, 0u);
  }
}

// Words and page of absent.S.
constexpr u32 kWrites = 0, kTicksWhileAbsent = 1;
constexpr u64 kAbsentPage = 0x1a'0000;

// KVM has a worker wait for the page and the vCPU stand by, which no ioctl tells. It goes, and
// comes back to a KVM vCPU that stands by still.
TEST(VcpuMove, OneThatStandsByForAPageGoesAndComesBack) {
  DVM_NEEDS_KVM();
  if (host_injection() != Injection::external) GTEST_SKIP() << "no vCPU stands by here";
  const auto tiny = make("absent", {.nodes = 2});
  tiny->set_words({0, 0, 20'000'000});
  ASSERT_TRUE(tiny->boot().ok());
  ASSERT_TRUE(eventually([&] { return tiny->word(kTicksWhileAbsent) > 2; }));
  const auto goes_on = [&] {
    return eventually([&, writes = tiny->word(kWrites), ticks = tiny->word(kTicksWhileAbsent)] {
      return tiny->word(kWrites) > writes && tiny->word(kTicksWhileAbsent) > ticks;
    });
  };
  for (u32 i = 0; i < 20; ++i) {
    auto absent = AbsentPage::make(tiny->node_memory(0).span(kAbsentPage, 1)->data());
    ASSERT_TRUE(absent.ok()) << absent.error().message;
    ASSERT_TRUE(absent->wanted(kLongMs)) << i;
    const timespec a_while{0, i * 500'000};
    ::nanosleep(&a_while, nullptr);
    ASSERT_NO_FATAL_FAILURE(move(*tiny, 0, 1)) << i;
    ASSERT_TRUE(goes_on()) << i;
    ASSERT_NO_FATAL_FAILURE(move(*tiny, 0, 0)) << i;
    const u32 ticks = tiny->word(kTicksWhileAbsent);
    ASSERT_TRUE(eventually([&] { return tiny->word(kTicksWhileAbsent) > ticks; }))
        << "it takes interrupts while it stands by";
    ASSERT_TRUE(absent->give_back());
    ASSERT_TRUE(goes_on()) << i;
  }
  tiny->stop();
}

TEST(VcpuMove, AResetAndAStopInTheMiddleOfMovesEndThem) {
  DVM_NEEDS_KVM();
  const auto tiny = make("count", {.nodes = 2});
  Machine& machine = tiny->machine();
  for (u32 boot = 0; boot < 8; ++boot) {
    ASSERT_TRUE(tiny->boot().ok());
    ASSERT_TRUE(eventually([&] { return tiny->word(0) > 100; }));
    const u32 to = 1 - tiny->vcpu(0).node();
    ASSERT_TRUE(migration::ask_move(machine, 0, to).ok());
    const timespec moment{0, 300'000 * static_cast<long>(boot)};
    ::nanosleep(&moment, nullptr);
    machine.request_reset();
    tiny->join();
    ASSERT_EQ(tiny->phase(), Phase::resetting);
  }
  ASSERT_TRUE(tiny->boot().ok());
  EXPECT_EQ(tiny->vcpu(0).where().stage, PlaceStage::settled) << "a boot starts with all in place";
  ASSERT_TRUE(migration::ask_move(machine, 0, 1 - tiny->vcpu(0).node()).ok());
  EXPECT_LT(tiny->stop(), 10'000'000'000u);
}

}  // namespace
}  // namespace dvm::vmm
