// A node dies inside a device step. Whoever comes next finds a consistent device, takes it over,
// and brings the interrupt line in line with it.
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

class MachineDeathTest : public ::testing::Test {
 protected:
  MachineDeathTest() { enable_lapic(machine_->state().vcpus[0]); }

  // Runs `act` as the node's process, which ends in it; then the node is declared dead, as the
  // fabric does once it is confirmed stopped.
  void die_in(const std::function<void()>& act) {
    const pid_t child = ::fork();
    if (child == 0) {
      act();
      ::_exit(1);  // it should have died on the way
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "the child died where it was to";
    machine_->instances().retire(node_->self(), fabric::InstanceState::dead);
  }
  fabric::LockResult lock(fabric::PoolLock& lock) {
    return fabric::acquire(lock, node_->self(), node_->instances());
  }
  void serial_interrupts_on() {
    route(cpu_, layout::kSerialGsi, 0x31);
    cpu_.out(layout::kSerialPort + serial::kModemControl, 1, serial::kMcrOut2);
    cpu_.out(layout::kSerialPort + serial::kInterruptEnable, 1, serial::kIerReceived);
  }

  std::unique_ptr<Machine> machine_ = make_machine(machine_spec(2));
  std::unique_ptr<Machine> node_ = attach_again(*machine_, kFirstNodeInstance);
  FakeExits cpu_{*machine_};
};

TEST_F(MachineDeathTest, AHalfMadeStepIsNeverSeen) {
  cpu_.out(layout::kSerialPort + serial::kScratch, 1, 0x11);
  auto& cell = machine_->state().serial;
  const u64 version = cell.version.load();
  die_in([&] {
    lock(cell.lock);
    publish_step(cell, [](SerialState& s) {
      std::memset(static_cast<void*>(&s), 0xee, sizeof(s));
      ::_exit(0);
    });
  });
  EXPECT_NE(cell.lock.owner.load(), 0u) << "still held by the dead";
  EXPECT_EQ(cpu_.in(layout::kSerialPort + serial::kScratch, 1), 0x11u);
  EXPECT_EQ(cell.lock.owner.load(), 0u);
  EXPECT_EQ(cell.version.load(), version + 1);
  cpu_.out(layout::kSerialPort + serial::kScratch, 1, 0x22);
  EXPECT_EQ(cpu_.in(layout::kSerialPort + serial::kScratch, 1), 0x22u);
}

TEST_F(MachineDeathTest, AHalfWrittenConsoleByteIsWrittenAgain) {
  cpu_.out_string(layout::kSerialPort, "ab");
  auto& s = machine_->state();
  die_in([&] {
    lock(s.serial.lock);
    publish_step(s.serial, [&](SerialState& serial) {
      ++serial.tx_count;
      s.console.data[2] = '?';  // in its slot, but never counted
      ::_exit(0);
    });
  });
  std::array<char, 8> text{};
  EXPECT_EQ(machine_->console_output(text), 2u);
  cpu_.out_string(layout::kSerialPort, "c");
  EXPECT_EQ(machine_->console_output(text), 1u);
  EXPECT_EQ(text[0], 'c');
}

TEST_F(MachineDeathTest, APublishedStepWhoseLineWasNotDrivenIsMendedByTheNextStep) {
  serial_interrupts_on();
  auto& cell = machine_->state().serial;
  die_in([&] {
    lock(cell.lock);
    publish_step(cell, [](SerialState& s) { serial_receive(s, 'x'); });
    ::_exit(0);
  });
  EXPECT_FALSE(requested(*machine_, 0, 0x31));
  cpu_.in(layout::kSerialPort + serial::kLineControl, 1);
  EXPECT_TRUE(requested(*machine_, 0, 0x31));
  EXPECT_EQ(cpu_.in(layout::kSerialPort, 1), u32{'x'});
}

TEST_F(MachineDeathTest, AnyAccessToThePowerRegistersMendsTheSci) {
  route(cpu_, layout::kSciGsi, 0x32 | kRouteLevel);
  cpu_.out(layout::kPmEventPort + acpi_pm::kEnable, 2, acpi_pm::kPowerButton);
  auto& cell = machine_->state().pm;
  die_in([&] {
    lock(cell.lock);
    publish_step(cell, acpi_press_power_button);
    ::_exit(0);
  });
  EXPECT_EQ(cpu_.in(layout::kPmEventPort, 2), acpi_pm::kPowerButton);
  EXPECT_TRUE(requested(*machine_, 0, 0x32));
}

TEST_F(MachineDeathTest, TheConsolesReaderMendsTheLineToo) {
  serial_interrupts_on();
  auto& cell = machine_->state().serial;
  die_in([&] {
    lock(cell.lock);
    publish_step(cell, [](SerialState& s) { serial_receive(s, 'x'); });
    ::_exit(0);
  });
  std::array<char, 8> text{};
  machine_->console_output(text);
  cpu_.in(layout::kSerialPort + serial::kLineControl, 1);
  EXPECT_TRUE(requested(*machine_, 0, 0x31));
}

TEST_F(MachineDeathTest, DeathInTheIoApicsStepUnderADevicesLockIsMendedByTheDevice) {
  serial_interrupts_on();
  auto& s = machine_->state();
  die_in([&] {
    lock(s.serial.lock);
    publish_step(s.serial, [](SerialState& serial) { serial_receive(serial, 'x'); });
    lock(s.ioapic.lock);
    publish_step(s.ioapic, [](IoApicState& ioapic) {
      ioapic.redirection.fill(~0ull);
      ioapic.asserted.fill(~0u);
      ::_exit(0);
    });
  });
  cpu_.in(layout::kSerialPort + serial::kLineControl, 1);
  EXPECT_TRUE(requested(*machine_, 0, 0x31));
  EXPECT_EQ(s.ioapic.lock.owner.load(), 0u);
  EXPECT_EQ(s.ioapic.published().redirection[layout::kRtcGsi], 1u << 16) << "still masked";
}

TEST_F(MachineDeathTest, TheEventLogGoesOnAfterADeadWriter) {
  die_in([&] {
    lock(machine_->events().lock);
    auto& log = machine_->events();
    log.ring[log.tail.load() % fabric::EventLog::kEvents].sequence = 77;
    ::_exit(0);
  });
  machine_->log_event(fabric::EventKind::warning, {5});
  u64 seen = 0;
  const u64 last = fabric::read_events(machine_->events(), 0, [&](const fabric::Event& e) {
    if (e.kind == fabric::EventKind::warning) seen = e.arguments[0];
  });
  EXPECT_EQ(seen, 5u);
  EXPECT_EQ(last, machine_->events().tail.load());
}

TEST_F(MachineDeathTest, ALivingOwnerIsWaitedFor) {
  auto& cell = machine_->state().serial;
  lock(cell.lock);
  std::atomic<bool> done{false};
  std::thread other([&] {
    cpu_.in(layout::kSerialPort + serial::kScratch, 1);
    done.store(true);
  });
  ::usleep(20'000);
  EXPECT_FALSE(done.load());
  fabric::release(cell.lock);
  other.join();
  EXPECT_TRUE(done.load());
}

}  // namespace
}  // namespace dvm::vmm
