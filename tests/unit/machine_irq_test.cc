// Interrupts across vCPUs on different nodes: who gets what.
#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u8 kVector = 0x51;
using Ids = std::vector<u32>;

u64 icr(u32 destination, DeliveryMode mode, u8 vector, u64 more = 0) {
  return (static_cast<u64>(destination) << 32) | (static_cast<u64>(mode) << 8) | vector | more;
}
constexpr u64 kLogical = 1u << 11, kAssert = 1u << 14, kLevelTriggered = 1u << 15;
constexpr u64 kSelf = 1u << 18, kAll = 2u << 18, kAllButSelf = 3u << 18;

// 20 vCPUs, so that x2APIC has two clusters; on three nodes in turn. All attached by hand: each
// sender uses its node's own handle.
class MachineIrqTest : public ::testing::Test {
 protected:
  static MachineSpec spec() {
    std::vector<u16> placement;
    for (u16 i = 0; i < 20; ++i) placement.push_back(i % 3);
    return machine_spec(20, placement);
  }
  // What vCPU `from` sends, through its node's handle.
  void send(u32 from, u64 value) {
    const u32 node = machine_->state().vcpus[from].node();
    EXPECT_TRUE(FakeExits(*nodes_[node], from).wrmsr(kMsrX2ApicFirst + kRegIcr, value));
  }
  u32 signals(u32 vcpu) const { return machine_->state().vcpus[vcpu].inbox.signals.load(); }

  std::unique_ptr<Machine> machine_ = make_machine(spec());
  std::array<std::unique_ptr<Machine>, 3> nodes_ = {
      attach_again(*machine_, kFirstNodeInstance), attach_again(*machine_, kFirstNodeInstance + 1),
      attach_again(*machine_, kFirstNodeInstance + 2)};
};

TEST_F(MachineIrqTest, FixedGoesToTheOneNamed) {
  send(0, icr(7, DeliveryMode::fixed, kVector));
  EXPECT_EQ(receivers(*machine_, kVector), Ids{7});
  send(0, icr(63, DeliveryMode::fixed, kVector + 1));
  EXPECT_EQ(receivers(*machine_, kVector + 1), Ids{}) << "nobody has this id";
}

TEST_F(MachineIrqTest, LogicalGoesToTheMembersOfTheCluster) {
  send(0, icr((0u << 16) | 0b1001, DeliveryMode::fixed, kVector, kLogical));
  EXPECT_EQ(receivers(*machine_, kVector), (Ids{0, 3}));
  send(0, icr((1u << 16) | 0b1010, DeliveryMode::fixed, kVector + 1, kLogical));
  EXPECT_EQ(receivers(*machine_, kVector + 1), (Ids{17, 19}));
}

TEST_F(MachineIrqTest, BroadcastAndShorthands) {
  send(4, icr(0xffff'ffff, DeliveryMode::fixed, 0x60));
  EXPECT_EQ(receivers(*machine_, 0x60).size(), 20u);
  send(4, icr(0, DeliveryMode::fixed, 0x61, kSelf));
  EXPECT_EQ(receivers(*machine_, 0x61), Ids{4});
  send(4, icr(0, DeliveryMode::fixed, 0x62, kAll));
  EXPECT_EQ(receivers(*machine_, 0x62).size(), 20u);
  send(4, icr(0, DeliveryMode::fixed, 0x63, kAllButSelf));
  EXPECT_EQ(receivers(*machine_, 0x63).size(), 19u);
  EXPECT_FALSE(requested(*machine_, 4, 0x63));
  FakeExits(*machine_, 5).wrmsr(kMsrX2ApicFirst + kRegSelfIpi, 0x64);
  EXPECT_EQ(receivers(*machine_, 0x64), Ids{5});
}

TEST_F(MachineIrqTest, LowestPriorityGoesToExactlyOneOfThoseNamed) {
  for (u32 vector = 0x70; vector < 0x90; ++vector) {
    send(1, icr(0b1110, DeliveryMode::lowest_priority, static_cast<u8>(vector), kLogical));
    const auto got = receivers(*machine_, static_cast<u8>(vector));
    ASSERT_EQ(got.size(), 1u);
    EXPECT_TRUE(got[0] >= 1 && got[0] <= 3);
  }
  send(1, icr(5u << 16 | 1, DeliveryMode::lowest_priority, kVector, kLogical));
  EXPECT_EQ(receivers(*machine_, kVector), Ids{});
}

TEST_F(MachineIrqTest, NmiIsASignalNotAVector) {
  send(0, icr(0, DeliveryMode::nmi, kVector, kAllButSelf));
  EXPECT_EQ(receivers(*machine_, kVector), Ids{});
  EXPECT_EQ(signals(0), 0u);
  for (u32 i = 1; i < 20; ++i) EXPECT_EQ(signals(i), kSignalNmi);
}

TEST_F(MachineIrqTest, InitForgetsAnOlderSipiAndSipiNamesItsPage) {
  send(0, icr(2, DeliveryMode::sipi, 0x11));
  EXPECT_EQ(signals(2), kSignalSipi | 0x1100u) << "not started yet: waits for it";
  send(0, icr(2, DeliveryMode::init, 0, kAssert));
  EXPECT_EQ(signals(2), kSignalInit);
  send(0, icr(2, DeliveryMode::init, 0, kLevelTriggered));
  EXPECT_EQ(signals(2), kSignalInit) << "level de-assert does nothing";
  send(0, icr(2, DeliveryMode::sipi, 0x9a));
  EXPECT_EQ(signals(2), kSignalInit | kSignalSipi | 0x9a00u);
  send(0, icr(2, DeliveryMode::sipi, 0x9b));
  EXPECT_EQ(signals(2), kSignalInit | kSignalSipi | 0x9b00u) << "the last one counts";
}

TEST_F(MachineIrqTest, ARunningVcpuTakesNoSipi) {
  machine_->state().vcpus[2].started.store(1);
  machine_->state().vcpus[2].run_state.store(VcpuRunState::outside);
  send(0, icr(2, DeliveryMode::sipi, 0x11));
  EXPECT_EQ(signals(2), 0u);
}

TEST_F(MachineIrqTest, SmiAndExtIntGoNowhere) {
  for (u32 i = 0; i < 8; ++i) {
    if (i == 0 || i == 1 || (i >= 4 && i <= 6)) continue;
    send(0, icr(2, static_cast<DeliveryMode>(i), kVector));
  }
  EXPECT_EQ(receivers(*machine_, kVector), Ids{});
  EXPECT_EQ(signals(2), 0u);
}

TEST_F(MachineIrqTest, XApicDestinationsAreFlatOrClusters) {
  for (u32 i = 0; i < 4; ++i) {
    FakeExits cpu(*machine_, i);
    ASSERT_TRUE(cpu.wrmsr(kMsrApicBase, layout::kLocalApicBase | (i == 0 ? kApicBaseBootstrap : 0),
                          ExitOutcome::apic_base));
    ASSERT_TRUE(
        cpu.wrmsr(kMsrApicBase, layout::kLocalApicBase | kApicBaseEnabled, ExitOutcome::apic_base));
    cpu.mmio_write(layout::kLocalApicBase + 0xd0, 4, 1u << (24 + i));
  }
  FakeExits cpu(*machine_, 0);
  const auto send_xapic = [&](u32 destination, u32 low) {
    cpu.mmio_write(layout::kLocalApicBase + 0x310, 4, destination << 24);
    cpu.mmio_write(layout::kLocalApicBase + 0x300, 4, low);
  };
  send_xapic(0b1010, kLogical | 0x41);
  for (u32 i = 0; i < 4; ++i) EXPECT_EQ(requested(*machine_, i, 0x41), i == 1 || i == 3);
  send_xapic(2, 0x42);
  EXPECT_EQ(receivers(*machine_, 0x42), Ids{2});
  send_xapic(0xff, 0x43);
  EXPECT_EQ(receivers(*machine_, 0x43).size(), 20u);
  for (u32 i = 0; i < 4; ++i) {
    FakeExits at(*machine_, i);
    at.mmio_write(layout::kLocalApicBase + 0xe0, 4, 0x0fff'ffff);
    at.mmio_write(layout::kLocalApicBase + 0xd0, 4, (0x10u | (1u << i)) << 24);
  }
  send_xapic(0x1c, kLogical | 0x44);
  for (u32 i = 0; i < 4; ++i) EXPECT_EQ(requested(*machine_, i, 0x44), i >= 2);
}

TEST_F(MachineIrqTest, AKickReachesTheSleeperAndNobodyElse) {
  VcpuRecord& v = machine_->state().vcpus[7];
  const u32 before = fabric::listen(v.bell);
  v.run_state.store(VcpuRunState::halted);
  send(0, icr(7, DeliveryMode::fixed, kVector));
  EXPECT_NE(fabric::listen(v.bell), before);
  EXPECT_EQ(machine_->state().vcpus[0].counters.kicks_sent, 1u);
  const u32 once = fabric::listen(v.bell);
  send(0, icr(7, DeliveryMode::fixed, kVector));
  EXPECT_EQ(fabric::listen(v.bell), once) << "already requested: no second kick";
}

}  // namespace
}  // namespace dvm::vmm
