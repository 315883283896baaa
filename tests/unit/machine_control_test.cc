// The machine's life: phases, power, panic, and two processes' handles on one pool.
#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;
using fabric::EventKind;

class MachineControlTest : public ::testing::Test {
 protected:
  Phase phase() const { return machine_->state().control.phase.load(); }
  StopReason reason() const { return machine_->state().control.stop_reason.load(); }
  u32 events(EventKind kind) const {
    u32 count = 0;
    fabric::read_events(machine_->events(), 0,
                        [&](const fabric::Event& e) { count += e.kind == kind ? 1u : 0u; });
    return count;
  }
  std::unique_ptr<Machine> machine_ = make_machine(machine_spec(2, {0, 1}));
  FakeExits cpu_{*machine_};
};

TEST(MachineCreate, RefusesWhatIsOutOfRange) {
  const auto refused = [](auto&& change) {
    MachineSpec spec = machine_spec(1);
    change(spec.config);
    return !Machine::create(spec).ok();
  };
  EXPECT_TRUE(refused([](MachineConfig& c) { c.vcpus = 0; }));
  EXPECT_TRUE(refused([](MachineConfig& c) { c.vcpus = layout::kMaxVcpus + 1; }));
  EXPECT_TRUE(refused([](MachineConfig& c) { c.nodes = 0; }));
  EXPECT_TRUE(refused([](MachineConfig& c) { c.nodes = layout::kMaxNodes + 1; }));
  EXPECT_TRUE(refused([](MachineConfig& c) { c.tsc_khz = 0; }));
  EXPECT_TRUE(refused([](MachineConfig& c) { c.memory_bytes = kMiB; }));
  EXPECT_TRUE(refused([](MachineConfig& c) { c.memory_bytes += 1; }));
  EXPECT_TRUE(refused([](MachineConfig& c) { c.memory_bytes = ~0ull & ~0xfffull; }));
  EXPECT_FALSE(refused([](MachineConfig&) {}));
}

TEST(MachineCreate, RestsBeforeItsFirstBootWithItsVcpusPlaced) {
  auto machine = Machine::create(machine_spec(3, {0, 2, 1})).take();
  EXPECT_EQ(machine->state().control.phase.load(), Phase::resetting);
  EXPECT_EQ(machine->state().control.boots.load(), 0u);
  EXPECT_EQ(machine->state().vcpus[1].node(), 2u);
  EXPECT_EQ(machine->memory().total_bytes(), kTestMemory);
  EXPECT_TRUE(machine->all_parked()) << "nobody runs";
}

TEST_F(MachineControlTest, ThePowerButtonRaisesTheSciAndS5Stops) {
  enable_lapic(machine_->state().vcpus[0]);
  route(cpu_, layout::kSciGsi, 0x31 | kRouteLevel);
  cpu_.out(layout::kPmEventPort + acpi_pm::kEnable, 2, acpi_pm::kPowerButton);
  EXPECT_FALSE(requested(*machine_, 0, 0x31));
  machine_->press_power_button();
  EXPECT_TRUE(requested(*machine_, 0, 0x31));
  EXPECT_EQ(cpu_.in(layout::kPmEventPort, 2), acpi_pm::kPowerButton);
  EXPECT_EQ(events(EventKind::power_button), 1u);
  EXPECT_EQ(phase(), Phase::running) << "the guest decides";
  const u32 s5 = acpi_pm::kSleepTypeS5 << acpi_pm::kSleepTypeShift;
  cpu_.out(layout::kPmControlPort, 2, s5);
  EXPECT_EQ(phase(), Phase::running) << "without SLP_EN";
  cpu_.out(layout::kPmControlPort, 2, s5 | acpi_pm::kSleepEnable);
  EXPECT_EQ(phase(), Phase::stopped);
  EXPECT_EQ(reason(), StopReason::shutdown);
  EXPECT_EQ(events(EventKind::guest_shutdown), 1u);
}

TEST_F(MachineControlTest, TheKeyboardControllersResetLineResets) {
  cpu_.out(layout::kI8042Command, 1, i8042::kPulseReset);
  EXPECT_EQ(phase(), Phase::resetting);
}

TEST_F(MachineControlTest, APanicResetsOrStopsAsConfigured) {
  EXPECT_EQ(cpu_.in(layout::kPvpanicPort, 1), 3u);
  cpu_.out(layout::kPvpanicPort, 1, 2);
  EXPECT_EQ(phase(), Phase::running) << "the guest's own crash kernel takes over";
  cpu_.out(layout::kPvpanicPort, 1, 1);
  EXPECT_EQ(phase(), Phase::resetting);
  EXPECT_EQ(events(EventKind::guest_panicked), 1u);

  MachineSpec spec = machine_spec(1);
  spec.config.exit_on_panic = 1;
  const auto exits = make_machine(spec);
  FakeExits(*exits).out(layout::kPvpanicPort, 1, 1);
  EXPECT_EQ(exits->state().control.phase.load(), Phase::stopped);
  EXPECT_EQ(exits->state().control.stop_reason.load(), StopReason::panic);
}

TEST_F(MachineControlTest, PauseAndResumeOnlyFromTheOther) {
  EXPECT_FALSE(machine_->request_resume());
  EXPECT_TRUE(machine_->request_pause());
  EXPECT_FALSE(machine_->request_pause());
  EXPECT_EQ(phase(), Phase::paused);
  EXPECT_TRUE(machine_->request_resume());
  EXPECT_EQ(phase(), Phase::running);
  EXPECT_EQ(events(EventKind::paused), 1u);
  EXPECT_EQ(events(EventKind::resumed), 1u);
}

TEST_F(MachineControlTest, AWatchdogThatRunsOutIsAPanicButNotWhileTheGuestIsPaused) {
  MachineSpec spec = machine_spec(1);
  spec.config.watchdog = 1;
  const auto machine = make_machine(spec);
  FakeExits cpu(*machine);
  const auto at = [](u16 offset) { return static_cast<u16>(layout::kWatchdogPort + offset); };
  cpu.out(at(watchdog::kCount), 2, watchdog::kMinCount);
  cpu.out(at(watchdog::kRun), 1, 1);
  EXPECT_TRUE(machine->next_device_deadline());
  ASSERT_TRUE(machine->request_pause());
  std::this_thread::sleep_for(
      std::chrono::milliseconds(watchdog::kMinCount * watchdog::kPeriodMs + 100));
  machine->run_device_timers();
  EXPECT_EQ(machine->state().control.phase.load(), Phase::paused);
  ASSERT_TRUE(machine->request_resume());
  machine->run_device_timers();
  EXPECT_EQ(machine->state().control.phase.load(), Phase::running) << "it has all its time again";
  std::this_thread::sleep_for(
      std::chrono::milliseconds(watchdog::kMinCount * watchdog::kPeriodMs + 100));
  machine->run_device_timers();
  EXPECT_EQ(machine->state().control.phase.load(), Phase::resetting);
  machine->reset_devices();
  EXPECT_EQ(cpu.in(at(watchdog::kStatus), 1), 1u);
  EXPECT_EQ(cpu_.in(at(watchdog::kStatus), 1), 0xffu) << "a machine that has none";
}

TEST_F(MachineControlTest, AResetIsTakenFromPausedAndKeepsItsPhase) {
  machine_->request_pause();
  machine_->request_reset();
  EXPECT_EQ(phase(), Phase::resetting);
  EXPECT_FALSE(machine_->request_pause());
  EXPECT_FALSE(machine_->request_resume());
}

TEST_F(MachineControlTest, StoppedIsForGoodAndTheFirstReasonStays) {
  machine_->request_stop(StopReason::user);
  machine_->request_stop(StopReason::error);
  machine_->request_reset();
  machine_->guest_panicked(PanicCause::pvpanic);
  EXPECT_FALSE(machine_->request_pause());
  EXPECT_FALSE(machine_->request_resume());
  EXPECT_EQ(phase(), Phase::stopped);
  EXPECT_EQ(reason(), StopReason::user);
}

TEST_F(MachineControlTest, AllParkedMeansEveryVcpu) {
  auto& vcpus = machine_->state().vcpus;
  vcpus[0].run_state.store(VcpuRunState::parked);
  vcpus[1].run_state.store(VcpuRunState::in_guest);
  EXPECT_FALSE(machine_->all_parked());
  vcpus[1].run_state.store(VcpuRunState::parked);
  EXPECT_TRUE(machine_->all_parked());
}

TEST_F(MachineControlTest, EveryChangeRingsWhoeverWaits) {
  auto& state = machine_->state();
  state.vcpus[1].run_state.store(VcpuRunState::halted);
  const u32 control = fabric::listen(state.control.changed),
            node = fabric::listen(state.nodes[1].bell), vcpu = fabric::listen(state.vcpus[1].bell);
  machine_->request_pause();
  EXPECT_NE(fabric::listen(state.control.changed), control);
  EXPECT_NE(fabric::listen(state.nodes[1].bell), node);
  EXPECT_NE(fabric::listen(state.vcpus[1].bell), vcpu);
}

TEST_F(MachineControlTest, AResetLeavesPowerOnStateAndKeepsTheConsolesCount) {
  cpu_.out_string(layout::kSerialPort, "before");
  cpu_.out(layout::kSerialPort + 7, 1, 0x5c);
  cpu_.wrmsr(kMsrX2ApicFirst + kRegTpr, 0x50);
  machine_->state().vcpus[1].inbox.signals.store(kSignalNmi);
  cpu_.out(layout::kPciAddressPort, 4, kConfigAddressEnable);
  machine_->reset_devices();
  EXPECT_EQ(cpu_.in(layout::kSerialPort + 7, 1), 0u);
  EXPECT_EQ(machine_->state().vcpus[0].lapic.tpr, 0u);
  EXPECT_EQ(machine_->state().vcpus[1].inbox.signals.load(), 0u);
  EXPECT_EQ(cpu_.in(layout::kPciAddressPort, 4), 0u);
  cpu_.out_string(layout::kSerialPort, " after");
  std::array<char, 32> text{};
  EXPECT_EQ(machine_->console_output(text), 12u);
  EXPECT_STREQ(text.data(), "before after");
}

TEST_F(MachineControlTest, TwoHandlesSeeTheSameMachine) {
  const auto other = attach_again(*machine_, kFirstNodeInstance);
  EXPECT_NE(&other->state(), &machine_->state()) << "mapped twice";
  EXPECT_NE(other->self(), machine_->self());
  FakeExits there(*other, 1);
  there.out_string(layout::kSerialPort, "hi");
  std::array<char, 4> text{};
  EXPECT_EQ(machine_->console_output(text), 2u);
  ASSERT_TRUE(machine_->memory().store<u64>(0x1000, 42).ok());
  EXPECT_EQ(other->memory().load<u64>(0x1000).value(), 42u);
  there.wrmsr(kMsrX2ApicFirst + kRegIcr, 0x55);
  EXPECT_TRUE(requested(*machine_, 0, 0x55));
  EXPECT_TRUE(other->request_pause());
  EXPECT_EQ(phase(), Phase::paused);
}

TEST_F(MachineControlTest, AttachRefusesAnImpossibleInstance) {
  auto pool = fabric::Pool::attach(machine_->pool().fd().duplicate().take(), "again");
  EXPECT_FALSE(Machine::attach(pool.take(), fabric::kMaxInstances).ok());
}

}  // namespace
}  // namespace dvm::vmm
