// The bus: each address reaches the device it should, and interrupt lines reach the vCPUs.
#include "tests/unit/machine_fixture.h"
#include "vmm/pci/config_registers.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u8 kOut2 = serial::kMcrOut2;

class MachineBusTest : public ::testing::Test {
 protected:
  // The pending vector of vCPU 0, taken and ended as the vCPU's thread and the guest would.
  std::optional<u8> take() {
    const auto vector = lapic_pending(v_.lapic, v_.inbox);
    if (vector) lapic_accept(v_.lapic, v_.inbox, *vector);
    return vector;
  }
  void eoi() { EXPECT_TRUE(cpu_.wrmsr(kMsrX2ApicFirst + kRegEoi, 0)); }

  std::unique_ptr<Machine> machine_ = make_machine(machine_spec(2));
  FakeExits cpu_{*machine_};
  VcpuRecord& v_ = machine_->state().vcpus[0];
};

TEST_F(MachineBusTest, ASerialInterruptComesThroughTheIoApic) {
  enable_lapic(v_);
  route(cpu_, layout::kSerialGsi, 0x31);
  cpu_.out(layout::kSerialPort + serial::kModemControl, 1, kOut2);
  cpu_.out(layout::kSerialPort + serial::kInterruptEnable, 1, serial::kIerReceived);
  EXPECT_EQ(take(), std::nullopt);
  EXPECT_EQ(machine_->console_input(std::string("x")), 1u);
  EXPECT_EQ(take(), 0x31);
  EXPECT_EQ(cpu_.in(layout::kSerialPort, 1), u32{'x'});
  eoi();
  EXPECT_EQ(take(), std::nullopt);
}

TEST_F(MachineBusTest, ALevelTriggeredLineComesAgainUntilItIsDown) {
  enable_lapic(v_);
  route(cpu_, layout::kSerialGsi, 0x31 | kRouteLevel);
  cpu_.out(layout::kSerialPort + serial::kModemControl, 1, kOut2);
  cpu_.out(layout::kSerialPort + serial::kInterruptEnable, 1, serial::kIerReceived);
  machine_->console_input(std::string("x"));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(take(), 0x31);
    EXPECT_EQ(take(), std::nullopt) << "not before its EOI";
    eoi();
  }
  ASSERT_EQ(take(), 0x31);
  cpu_.in(layout::kSerialPort, 1);
  eoi();
  EXPECT_EQ(take(), std::nullopt);
  EXPECT_EQ(v_.counters.eoi_writes, 4u);
}

TEST_F(MachineBusTest, AMaskedLevelIsDeliveredWhenUnmasked) {
  enable_lapic(v_);
  route(cpu_, layout::kSciGsi, 0x31 | kRouteLevel | (1u << 16));
  cpu_.out(layout::kPmEventPort + acpi_pm::kEnable, 2, acpi_pm::kPowerButton);
  machine_->press_power_button();
  EXPECT_EQ(take(), std::nullopt);
  route(cpu_, layout::kSciGsi, 0x31 | kRouteLevel);
  EXPECT_EQ(take(), 0x31);
}

TEST_F(MachineBusTest, LinesSharedByDevicesAreUpWhileOneOfThemIs) {
  enable_lapic(v_);
  route(cpu_, 20, 0x44 | kRouteLevel);
  machine_->set_line(20, 0, true);
  machine_->set_line(20, 1, true);
  ASSERT_EQ(take(), 0x44);
  machine_->set_line(20, 0, false);
  eoi();
  ASSERT_EQ(take(), 0x44) << "source 1 is up";
  machine_->set_line(20, 1, false);
  eoi();
  EXPECT_EQ(take(), std::nullopt);
  machine_->set_line(99, 0, true);
  machine_->set_line(20, 99, true);
}

TEST_F(MachineBusTest, ConfigurationSpaceByPortsAndByEcamIsTheSame) {
  const u64 slot1 = layout::kEcamBase + (1u << 15);
  cpu_.out(layout::kPciAddressPort, 4, kConfigAddressEnable | (1u << 11));
  EXPECT_EQ(cpu_.in(layout::kPciAddressPort, 4), kConfigAddressEnable | (1u << 11));
  EXPECT_EQ(cpu_.in(layout::kPciDataPort, 4), 0x1044'1af4u);
  EXPECT_EQ(cpu_.in(layout::kPciDataPort + 2, 2), 0x1044u);
  EXPECT_EQ(cpu_.mmio_read(slot1, 4), 0x1044'1af4u);
  EXPECT_EQ(cpu_.mmio_read(slot1, 8), ~0ull) << "ECAM has no 8-byte accesses";
  EXPECT_NE(cpu_.mmio_read(layout::kEcamBase, 4), 0xffff'ffffu) << "the host bridge";
  EXPECT_EQ(cpu_.mmio_read(layout::kEcamBase + (2u << 15), 4), 0xffff'ffffu) << "an empty slot";
  EXPECT_EQ(cpu_.mmio_read(slot1 + (1u << 12), 4), 0xffff'ffffu) << "it has one function";
  cpu_.out(layout::kPciAddressPort, 4, 0);
  EXPECT_EQ(cpu_.in(layout::kPciDataPort, 4), 0xffff'ffffu) << "not enabled";
}

TEST_F(MachineBusTest, TheBarFollowsItsRegister) {
  const u64 slot1 = layout::kEcamBase + (1u << 15);
  const u64 num_queues = 18;  // CommonConfig::num_queues
  const u64 base = cpu_.mmio_read(slot1 + pci::kBar0, 4) & ~0xfull;
  EXPECT_EQ(base, layout::kPciMmioBase);
  EXPECT_EQ(cpu_.mmio_read(base + num_queues, 2), 1u);
  cpu_.mmio_write(slot1 + pci::kBar0, 4, layout::kPciMmioBase + kMiB);
  EXPECT_EQ(cpu_.mmio_read(base + num_queues, 2), 0xffffu);
  EXPECT_EQ(cpu_.mmio_read(base + kMiB + num_queues, 2), 1u);
  cpu_.mmio_write(slot1 + pci::kCommand, 2, 0);
  EXPECT_EQ(cpu_.mmio_read(base + kMiB + num_queues, 2), 0xffffu) << "decoding is off";
}

TEST_F(MachineBusTest, TheResetPortIsOnlyTheByte) {
  cpu_.out(layout::kPciAddressPort, 4, 0xffff'ffff);
  EXPECT_EQ(machine_->state().control.phase.load(), Phase::running) << "covers 0xcf9, but is PCI's";
  cpu_.out(layout::kResetPort, 1, 0x02);
  EXPECT_EQ(cpu_.in(layout::kResetPort, 1), 0x02u);
  EXPECT_EQ(machine_->state().control.phase.load(), Phase::running);
  cpu_.out(layout::kResetPort, 1, 0x06);
  EXPECT_EQ(machine_->state().control.phase.load(), Phase::resetting);
}

TEST_F(MachineBusTest, AccessesAcrossAPortRangesEndsReachTheNeighbours) {
  cpu_.out(layout::kSerialPort + 7, 1, 0x5c);
  EXPECT_EQ(cpu_.in(layout::kSerialPort + 7, 2), 0xff5cu);
  EXPECT_EQ(cpu_.in(layout::kSerialPort - 1, 2) & 0xff, 0xffu);
  EXPECT_EQ(cpu_.in(layout::kPmControlPort + 1, 4) >> 8, 0xff'ffffu);
  cpu_.out(layout::kPmControlPort + 1, 4, 0);
}

TEST_F(MachineBusTest, ThePitAndTheRtcTickThroughRunDeviceTimers) {
  enable_lapic(v_);
  route(cpu_, layout::kPitGsi, 0x30);
  cpu_.out(layout::kPitPort + 3, 1, 0x34);  // channel 0, both bytes, rate generator
  cpu_.out(layout::kPitPort, 1, 100);
  cpu_.out(layout::kPitPort, 1, 0);
  ASSERT_TRUE(machine_->next_device_deadline().has_value());
  const u64 until = machine_->now_ns() + 1'000'000;
  while (machine_->now_ns() < until) {
  }
  machine_->run_device_timers();
  EXPECT_EQ(take(), 0x30);
  eoi();
  route(cpu_, layout::kPitGsi, 0x30 | (1u << 16));
  EXPECT_EQ(machine_->next_device_deadline(), std::nullopt) << "nobody hears a masked pin";
}

}  // namespace
}  // namespace dvm::vmm
