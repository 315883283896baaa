// A node is killed at every point of every kind of device step. What the next one finds is the
// state from before the step or from after it, whole; and once the devices are mended, lines and
// interrupts are as that state wants them.
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "fabric/failpoint.h"
#include "tests/unit/machine_fixture.h"
#include "tests/unit/virtio_fake_driver.h"
#include "vmm/machine_steps.h"
#include "vmm/virtio/rng.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u8 kVector = 0x41;
constexpr auto kPointNames = std::to_array<const char*>(
    {"device.stepped", "device.published", "device.ioapic_posted", "device.line_driven",
     "device.msis_posted", "device.queue_served", "device.pit_taken"});
constexpr u32 kRng = 0;
const Line kRngLine = function_line(kRng);

// A machine, and a node that is to die in it.
struct World {
  std::unique_ptr<Machine> machine = make_machine(machine_spec(1));
  std::unique_ptr<Machine> node = attach_again(*machine, kFirstNodeInstance);
  FakeExits cpu{*machine};
  FakeGuest guest;
  FakeRing ring{guest, 8};

  World() {
    enable_lapic(machine->state().vcpus[0]);
    guest.memory = machine->memory();
  }
  MachineState& state() { return machine->state(); }
};

struct Step {
  const char* name;
  u8 pin;  // whose interrupt the step is to raise; 0xff: none
  std::function<void(World&)> prepare;
  std::function<void(Machine&)> act;
};

const VirtioPciState& rng_registers(World& w) {
  return w.state().functions[kRng].device.published();
}

void start_rng(World& w) {
  VirtioPciState s = rng_registers(w);
  FakePciDriver driver(s);
  ASSERT_TRUE(driver.negotiate(virtio::kFeatureVersion1));
  driver.enable_queue(kRngQueue, 8);
  driver.add_status(virtio::kStatusDriverOk);
  w.state().functions[kRng].device.reset(s);
  w.ring.descriptor(0, kBuffers, 64, ring::kDescriptorWrite);
  w.ring.offer(0);
}

void start_serial(World& w) {
  w.cpu.out(layout::kSerialPort + serial::kModemControl, 1, serial::kMcrOut2);
  w.cpu.out(layout::kSerialPort + serial::kInterruptEnable, 1, serial::kIerReceived);
}

void start_pit(World& w) {  // one interrupt, after one tick
  w.cpu.out(layout::kPitPort + 3, 1, 0x30);
  w.cpu.out(layout::kPitPort, 1, 1);
  w.cpu.out(layout::kPitPort, 1, 0);
  ::usleep(2000);
}

const std::vector<Step>& steps() {
  static const std::vector<Step> all = {
      {"a byte is typed", layout::kSerialGsi, start_serial,
       [](Machine& m) { (void)m.console_input(std::string_view("x")); }},
      {"a byte is printed", 0xff, [](World&) {},
       [](Machine& m) { FakeExits(m).out(layout::kSerialPort, 1, 'a'); }},
      {"the power button", layout::kSciGsi,
       [](World& w) {
         w.cpu.out(layout::kPmEventPort + acpi_pm::kEnable, 2, acpi_pm::kPowerButton);
       },
       [](Machine& m) { m.press_power_button(); }},
      {"the PIT's tick", layout::kPitGsi, start_pit, [](Machine& m) { m.run_device_timers(); }},
      {"random bytes are asked for", kRngLine.pin, start_rng,
       [](Machine& m) {
         FakeExits(m).mmio_write(layout::kPciMmioBase + kVirtioNotifyOffset, 2, kRngQueue);
       }},
      {"the clock's index", 0xff, [](World&) {},
       [](Machine& m) { FakeExits(m).out(layout::kRtcPort, 1, 0x0b); }},
      {"a keyboard command", 0xff, [](World&) {},
       [](Machine& m) { FakeExits(m).out(layout::kI8042Command, 1, 0x20); }},
      {"a PCI address", 0xff, [](World&) {},
       [](Machine& m) { FakeExits(m).out(layout::kPciAddressPort, 4, 0x8000'0008); }},
      {"an entry of the IOAPIC", 0xff, [](World&) {},
       [](Machine& m) {
         FakeExits cpu(m);
         route(cpu, layout::kRtcGsi, 0x55);
       }},
  };
  return all;
}

void prepare(World& w, const Step& step) {
  step.prepare(w);
  const bool level = step.pin == layout::kSciGsi || step.pin == kRngLine.pin;
  if (step.pin != 0xff) route(w.cpu, step.pin, kVector | (level ? kRouteLevel : 0));
}

// True: it was killed there.
bool die_at(World& w, const Step& step, const char* point, u32 skip) {
  const pid_t child = ::fork();
  if (child == 0) {
    static fabric::FaultTable table{};
    fabric::arm_fault(table, point, fabric::FaultAction::kill, skip, ~0u, 0);
    fabric::watch_faults(&table, 1);
    step.act(*w.node);
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  w.machine->instances().retire(w.node->self(), fabric::InstanceState::dead);
  return WIFSIGNALED(status);
}

template <typename T>
std::string bytes_of(DeviceCell<T>& cell) {
  EXPECT_EQ(cell.lock.owner.load(), 0u) << "nobody is in a step";
  return {reinterpret_cast<const char*>(&cell.published()), sizeof(T)};
}

// The states that depend on nothing but the steps.
std::vector<std::string> published(World& w) {
  MachineState& s = w.state();
  return {bytes_of(s.serial),     bytes_of(s.pm),     bytes_of(s.functions[kRng].device),
          bytes_of(s.i8042),      bytes_of(s.ioapic), bytes_of(s.pci_address),
          bytes_of(s.host_bridge)};
}

void expect_lines_follow(World& w) {
  const MachineState& s = w.state();
  const auto asserted = [&](Line line) {
    return (s.ioapic.published().asserted[line.pin] >> line.source & 1) != 0;
  };
  EXPECT_EQ(asserted(kSerialLine), serial_irq(s.serial.published()));
  EXPECT_EQ(asserted(kRtcLine), rtc_irq(s.rtc.published()));
  EXPECT_EQ(asserted(kSciLine), acpi_irq(s.pm.published()));
  EXPECT_EQ(asserted(kRngLine), virtio_irq(rng_registers(w)));
  EXPECT_FALSE(asserted(kPitLine)) << "a pulse is over";
}

void expect_interrupt(World& w, const Step& step) {
  const MachineState& s = w.state();
  const bool due = step.pin == kPitLine.pin || step.pin == kRngLine.pin ||
                   (step.pin == kSerialLine.pin && serial_irq(s.serial.published())) ||
                   (step.pin == kSciLine.pin && acpi_irq(s.pm.published()));
  EXPECT_TRUE(!due || requested(*w.machine, 0, kVector)) << "it is not lost";
  EXPECT_TRUE(step.pin != kRngLine.pin || w.ring.used_idx() == 1) << "the driver sees it once";
}

// Of the devices, each is as it was or as it is after the step (an access may be several steps).
void expect_whole(World& w, const std::vector<std::string>& before,
                  const std::vector<std::string>& after) {
  const auto now = published(w);
  constexpr std::size_t kIoApic = 4;  // its entry is written by four steps
  for (std::size_t i = 0; i < now.size(); ++i)
    EXPECT_TRUE(i == kIoApic || now[i] == before[i] || now[i] == after[i]) << "device " << i;
}

TEST(MachineStepDeath, AKillAtAnyPointLeavesTheDevicesWholeAndTheirInterruptsArrive) {
  u32 deaths = 0;
  for (const Step& step : steps()) {
    World twin;
    prepare(twin, step);
    const auto before = published(twin);
    step.act(*twin.machine);
    const auto after = published(twin);
    for (const char* point : kPointNames) {
      for (u32 skip = 0;; ++skip) {
        SCOPED_TRACE(fmt::format("{}, killed at {}, {}", step.name, point, skip));
        World w;
        prepare(w, step);
        if (!die_at(w, step, point, skip)) break;
        ++deaths;
        w.machine->mend_devices();
        w.machine->run_device_timers();  // as the next node does in its turn
        expect_whole(w, before, after);
        expect_lines_follow(w);
        expect_interrupt(w, step);
      }
    }
  }
  EXPECT_GT(deaths, 40u);
}

// Also the one that mends may die: in the recovery of the dead one's queue.
TEST(MachineStepDeath, TheMenderMayDieToo) {
  const Step& rng = steps()[4];
  for (const char* first : {"device.published", "device.queue_served"}) {
    for (const char* second : kPointNames) {
      SCOPED_TRACE(fmt::format("{}, then {}", first, second));
      World w;
      prepare(w, rng);
      ASSERT_TRUE(die_at(w, rng, first, 0));
      w.node = attach_again(*w.machine, kFirstNodeInstance + 1);
      die_at(w, {"mend", 0xff, {}, [](Machine& m) { m.mend_devices(); }}, second, 0);
      w.machine->mend_devices();
      expect_lines_follow(w);
      EXPECT_TRUE(requested(*w.machine, 0, kVector));
      EXPECT_EQ(w.ring.used_idx(), 1);
    }
  }
}

}  // namespace
}  // namespace dvm::vmm
