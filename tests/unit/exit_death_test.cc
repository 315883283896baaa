// A vCPU's thread is killed at every point of the handling of an exit. Whoever finishes the exit
// repeats no operation of a device and leaves none out: what the guest reads and what the device
// has done are as if nobody had died.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "fabric/failpoint.h"
#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr auto kPoints = std::to_array<const char*>(
    {"exit.begun", "device.stepped", "device.published", "device.counted", "device.line_driven",
     "device.ioapic_posted", "exit.done"});
constexpr u64 kRunBytes = 2 * kPageBytes;

// kvm_run, where the keeper's process can see it.
class SharedRun {
 public:
  SharedRun()
      : at_(::mmap(nullptr, kRunBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
  }
  ~SharedRun() { ::munmap(at_, kRunBytes); }
  SharedRun(const SharedRun&) = delete;
  SharedRun& operator=(const SharedRun&) = delete;
  kvm_run& run() { return *static_cast<kvm_run*>(at_); }
  u8* data() { return static_cast<u8*>(at_) + kPageBytes; }

  void io(bool out, u16 port, u8 size, std::string_view bytes) {
    run().exit_reason = KVM_EXIT_IO;
    run().io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    run().io.port = port;
    run().io.size = size;
    run().io.count = static_cast<u32>(bytes.size() / size);
    run().io.data_offset = kPageBytes;
    std::memcpy(data(), bytes.data(), bytes.size());
  }

 private:
  void* at_;
};

MachineSpec protected_machine() {
  MachineSpec spec = machine_spec(1);
  spec.config.protection = Protection::flush;
  return spec;
}

struct World {
  std::unique_ptr<Machine> machine = make_machine(protected_machine());
  std::unique_ptr<Machine> node = attach_again(*machine, kFirstNodeInstance);
  FakeExits cpu{*machine};
  SharedRun run;
  World() { enable_lapic(machine->state().vcpus[0]); }

  std::string printed() {
    std::array<char, 64> text{};
    return {text.data(), machine->console_output(text)};
  }
  std::string read() { return {reinterpret_cast<char*>(run.data()), 4}; }
};

struct Exit {
  const char* name;
  std::function<void(World&)> prepare;        // and leaves the exit in `run`
  std::function<std::string(World&)> result;  // all that is to be as it would have been
};

const std::vector<Exit>& exits() {
  static const std::vector<Exit> all = {
      {"a string is printed",
       [](World& w) {
         route(w.cpu, layout::kSerialGsi, 0x31);
         w.cpu.out(layout::kSerialPort + serial::kModemControl, 1, serial::kMcrOut2);
         w.cpu.out(layout::kSerialPort + serial::kInterruptEnable, 1, serial::kIerTransmitterEmpty);
         w.run.io(true, layout::kSerialPort, 1, "abcdefgh");
       },
       [](World& w) { return w.printed(); }},
      {"what was typed is read",
       [](World& w) {
         (void)w.machine->console_input(std::string_view("wxyz!"));
         w.run.io(false, layout::kSerialPort, 1, "....");
       },
       [](World& w) { return w.read() + static_cast<char>(w.cpu.in(layout::kSerialPort, 1)); }},
      {"a counter is read by bytes, low and high",
       [](World& w) {
         w.cpu.out(layout::kPitPort + 3, 1, 0x34);
         w.cpu.out(layout::kPitPort, 1, 0x12);
         w.run.io(true, layout::kPitPort, 1, "\x34");
       },
       [](World& w) {
         const PitState& s = w.machine->state().pit.published();
         return fmt::format("{:x}", s.channels[0].count);
       }},
      {"a keyboard command that waits for its byte",
       [](World& w) { w.run.io(true, layout::kI8042Command, 1, "\xaa"); },
       [](World& w) { return fmt::format("{:x}", w.cpu.in(layout::kI8042Data, 1)); }},
      {"an access over two registers",
       [](World& w) { w.run.io(true, layout::kRtcPort, 2, std::string_view("\x0f\x77", 2)); },
       [](World& w) { return fmt::format("{:x}", w.cpu.in(layout::kRtcPort + 1, 1)); }},
      {"the end of an interrupt",
       [](World& w) {
         VcpuRecord& v = w.machine->state().vcpus[0];
         v.lapic.isr[1] = 3;  // vectors 0x20 and 0x21: one is ended, not both
         w.run.run().exit_reason = KVM_EXIT_X86_WRMSR;
         w.run.run().msr.index = kMsrX2ApicFirst + kRegEoi;
         w.run.run().msr.data = 0;
       },
       [](World& w) { return fmt::format("{:x}", w.machine->state().vcpus[0].lapic.isr[1]); }},
      {"HLT",
       [](World& w) {
         w.run.run().exit_reason = KVM_EXIT_HLT;
         w.run.run().if_flag = 1;
       },
       [](World& w) {
         const VcpuRecord& v = w.machine->state().vcpus[0];
         return fmt::format("{} {}", v.journal.halted.load(), v.interruptible_halt.load());
       }},
  };
  return all;
}

std::string undisturbed(const Exit& exit) {
  World w;
  exit.prepare(w);
  EXPECT_EQ(handle_exit(*w.machine, 0, w.run.run(), kRunBytes).why, "");
  return exit.result(w);
}

bool die_at(World& w, const char* point, u32 skip, const std::function<void(Machine&)>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    static fabric::FaultTable table{};
    fabric::arm_fault(table, point, fabric::FaultAction::kill, skip, ~0u, 0);
    fabric::watch_faults(&table, 1);
    act(*w.node);
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFSIGNALED(status);
}

// Killed at the point's hit number `skip`; false: there is no such hit.
bool survive(const Exit& exit, const char* point, u32 skip, bool mended_first,
             const std::string& expected) {
  SCOPED_TRACE(::testing::Message() << exit.name << " at " << point << " #" << skip);
  World w;
  exit.prepare(w);
  const auto handle = [&](Machine& m) { (void)handle_exit(m, 0, w.run.run(), kRunBytes); };
  if (!die_at(w, point, skip, handle)) return false;
  w.machine->instances().retire(w.node->self(), fabric::InstanceState::dead);
  EXPECT_EQ(w.machine->state().vcpus[0].journal.phase.load(), VcpuPhase::handling);
  if (mended_first) w.machine->mend_devices();
  EXPECT_EQ(finish_handling(*w.machine, 0, w.run.run(), kRunBytes).why, "");
  if (!mended_first) w.machine->mend_devices();
  EXPECT_EQ(exit.result(w), expected);
  EXPECT_EQ(w.machine->state().vcpus[0].journal.phase.load(), VcpuPhase::handled);
  return true;
}

TEST(ExitDeath, AnExitIsFinishedOnceWhereverItsThreadDied) {
  u32 deaths = 0;
  for (const Exit& exit : exits()) {
    const std::string expected = undisturbed(exit);
    for (const char* point : kPoints) {
      for (const bool mended_first : {false, true}) {
        u32 skip = 0;
        while (survive(exit, point, skip, mended_first, expected)) ++skip;
        deaths += skip;
      }
    }
  }
  EXPECT_GT(deaths, 100u);
}

TEST(ExitDeath, NothingIsLoggedForWhomNobodyFinishes) {
  for (const Exit& exit : exits()) {
    World w;
    exit.prepare(w);
    const std::string expected = undisturbed(exit);
    VcpuJournal& journal = w.machine->state().vcpus[0].journal;
    const u64 logged = journal.operations.exit.load();
    w.machine->state().config.protection = Protection::none;
    EXPECT_EQ(handle_exit(*w.machine, 0, w.run.run(), kRunBytes).why, "");
    EXPECT_EQ(exit.result(w), expected) << exit.name;
    EXPECT_EQ(journal.operations.exit.load(), logged);
  }
}

TEST(ExitDeath, WhoFinishesMayDieAsWell) {
  const Exit& exit = exits().front();
  const std::string expected = undisturbed(exit);
  for (const char* point : {"device.stepped", "device.published", "device.counted", "exit.done"}) {
    for (u32 second = 0; second < 4; ++second) {
      SCOPED_TRACE(::testing::Message() << point << ", then after " << second);
      World w;
      exit.prepare(w);
      const auto handle = [&](Machine& m) { (void)handle_exit(m, 0, w.run.run(), kRunBytes); };
      ASSERT_TRUE(die_at(w, point, point == kPoints.back() ? 0 : 2, handle));
      w.machine->instances().retire(w.node->self(), fabric::InstanceState::dead);
      w.node = attach_again(*w.machine, kFirstNodeInstance + 1);
      const auto finish = [&](Machine& m) { (void)finish_handling(m, 0, w.run.run(), kRunBytes); };
      const bool died = die_at(w, "device.published", second, finish);
      w.machine->instances().retire(w.node->self(), fabric::InstanceState::dead);
      if (died) finish(*w.machine);
      EXPECT_EQ(exit.result(w), expected);
    }
  }
}

TEST(OperationLog, CountsAnOperationOnceAndKeepsItsAnswer) {
  OperationLog log{};
  log.begin();
  const OperationId id{3, 1, 0, 0};
  EXPECT_FALSE(log.done(id));
  log.count(id, 77);
  log.count(id, 78);  // told again, by who mends
  EXPECT_EQ(log.done(id), 77u);
  EXPECT_FALSE(log.done({3, 1, 0, 1}));
  EXPECT_FALSE(log.done({3, 2, 0, 0})) << "another exit";
  log.element_done();
  EXPECT_EQ(log.elements_done(), 1);
  EXPECT_FALSE(log.done({3, 1, 1, 0}));
  log.count(id, 5);
  EXPECT_FALSE(log.done({3, 1, 1, 0})) << "of an element that is past";
  log.begin();
  EXPECT_EQ(log.elements_done(), 0);
}

TEST(OperationLog, AnIdIsAWord) {
  const OperationId id{63, 0xdead'beef, 0x1234, 9};
  const OperationId back = OperationId::unpack(id.packed());
  EXPECT_EQ(back.vcpu, id.vcpu);
  EXPECT_EQ(back.exit, id.exit);
  EXPECT_EQ(back.element, id.element);
  EXPECT_EQ(back.operation, id.operation);
  EXPECT_NE(OperationId{}.packed(), 0u);
}

}  // namespace
}  // namespace dvm::vmm
