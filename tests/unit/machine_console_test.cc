// The console's ring in the pool: a round trip, back-pressure when nobody reads, input held back.
#include <thread>

#include "tests/unit/machine_fixture.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u16 kLsr = layout::kSerialPort + serial::kLineStatus;

class MachineConsoleTest : public ::testing::Test {
 protected:
  bool ready() { return (cpu_.in(kLsr, 1) & serial::kLsrHoldingEmpty) != 0; }
  void put(u64 n) { cpu_.out(layout::kSerialPort, 1, pattern(n)); }
  static u8 pattern(u64 n) { return static_cast<u8>(n * 7 + n / 251); }
  // Writes as a polling driver does until it is told to wait; how many bytes it has written.
  u64 fill() {
    u64 n = 0;
    while (ready()) put(n++);
    return n;
  }
  std::unique_ptr<Machine> machine_ = make_machine(machine_spec(1));
  FakeExits cpu_{*machine_};
};

TEST_F(MachineConsoleTest, AFullRingHoldsTheGuestBackAndLosesNothing) {
  const u64 filled = fill();
  EXPECT_GT(filled, ConsoleOut::kBytes - 2 * serial::kTransmitBurst);
  EXPECT_LE(filled, ConsoleOut::kBytes);
  EXPECT_FALSE(ready());
  std::vector<char> got(2 * ConsoleOut::kBytes);
  ASSERT_EQ(machine_->console_output(got), filled);
  for (u64 i = 0; i < filled; ++i) ASSERT_EQ(static_cast<u8>(got[i]), pattern(i)) << i;
  EXPECT_TRUE(ready());
  EXPECT_EQ(machine_->console_output(got), 0u);
}

TEST_F(MachineConsoleTest, AGuestThatDoesNotWaitOverwritesNothing) {
  const u64 filled = fill();
  for (u64 i = 0; i < 1000; ++i) put(0xee);
  std::vector<char> got(2 * ConsoleOut::kBytes);
  const u64 n = machine_->console_output(got);
  EXPECT_LE(n, ConsoleOut::kBytes);
  for (u64 i = 0; i < filled; ++i) ASSERT_EQ(static_cast<u8>(got[i]), pattern(i)) << i;
}

TEST_F(MachineConsoleTest, RoomForAByteIsNotRoomForABurst) {
  enable_lapic(machine_->state().vcpus[0]);
  u64 filled = fill();
  while (filled < ConsoleOut::kBytes) put(filled++);  // the burst it was promised
  route(cpu_, layout::kSerialGsi, 0x31);
  cpu_.out(layout::kSerialPort + serial::kModemControl, 1, serial::kMcrOut2);
  cpu_.out(layout::kSerialPort + serial::kInterruptEnable, 1, serial::kIerTransmitterEmpty);
  // A driver that goes by the interrupt alone fills the whole FIFO when it comes.
  char one = 0;
  u64 taken = 0;
  while (!requested(*machine_, 0, 0x31)) {
    ASSERT_EQ(machine_->console_output({&one, 1}), 1u);
    ASSERT_EQ(static_cast<u8>(one), pattern(taken++));
    ASSERT_LE(taken, filled);
  }
  EXPECT_EQ(cpu_.in(layout::kSerialPort + serial::kInterruptIdentOrFifoControl, 1),
            u32{serial::kIirTransmitterEmpty});
  for (u64 i = 0; i < serial::kTransmitBurst; ++i) put(filled + i);
  std::vector<char> got(2 * ConsoleOut::kBytes);
  ASSERT_EQ(machine_->console_output(got), filled - taken + serial::kTransmitBurst) << "none lost";
  for (u64 i = 0; i < filled - taken + serial::kTransmitBurst; ++i)
    ASSERT_EQ(static_cast<u8>(got[i]), pattern(taken + i)) << i;
}

// Linux asks the line status in its interrupt handler and, told "not ready", waits for the next
// interrupt without having written anything.
TEST_F(MachineConsoleTest, ALineStatusThatSaidNotReadyIsFollowedByAnInterrupt) {
  enable_lapic(machine_->state().vcpus[0]);
  cpu_.out(layout::kSerialPort + serial::kModemControl, 1, serial::kMcrOut2);
  cpu_.out(layout::kSerialPort + serial::kInterruptEnable, 1, serial::kIerTransmitterEmpty);
  fill();
  cpu_.in(layout::kSerialPort + serial::kInterruptIdentOrFifoControl, 1);
  route(cpu_, layout::kSerialGsi, 0x31);
  ASSERT_FALSE(ready());
  ASSERT_FALSE(requested(*machine_, 0, 0x31));
  std::vector<char> got(2 * ConsoleOut::kBytes);
  machine_->console_output(got);
  EXPECT_TRUE(requested(*machine_, 0, 0x31));
}

TEST_F(MachineConsoleTest, InputWaitsForRoom) {
  const std::string text(64, 'a');
  EXPECT_EQ(machine_->console_input(text), 1u) << "no FIFO before it is enabled";
  EXPECT_EQ(machine_->console_input(text), 0u);
  cpu_.out(layout::kSerialPort + serial::kInterruptIdentOrFifoControl, 1, serial::kFcrEnable);
  EXPECT_EQ(machine_->console_input(text), serial::kFifoBytes);
  machine_->state().console.reader_waits.store(1);
  const u32 before = fabric::listen(machine_->state().console.produced);
  EXPECT_EQ(cpu_.in(layout::kSerialPort, 1), u32{'a'});
  EXPECT_NE(fabric::listen(machine_->state().console.produced), before) << "there is room";
  EXPECT_EQ(machine_->console_input(text), 1u);
}

// The guest writes from one process, the console reads in another; neither waits for ever.
TEST_F(MachineConsoleTest, ABusyGuestAndASlowReaderLoseNothing) {
  constexpr u64 kBytes = 3 * ConsoleOut::kBytes;
  const auto node = attach_again(*machine_, kFirstNodeInstance);
  std::thread guest([&] {
    FakeExits cpu(*node);
    for (u64 n = 0; n < kBytes;) {
      if ((cpu.in(kLsr, 1) & serial::kLsrHoldingEmpty) == 0) {
        std::this_thread::yield();
        continue;
      }
      for (u64 i = 0; i < serial::kTransmitBurst && n < kBytes; ++i)
        cpu.out(layout::kSerialPort, 1, pattern(n++));
    }
  });
  std::vector<char> some(999);
  u64 seen = 0;
  while (seen < kBytes) {
    const u32 bell = fabric::listen(machine_->state().console.produced);
    const u64 n = machine_->console_output(some);
    for (u64 i = 0; i < n; ++i, ++seen) ASSERT_EQ(static_cast<u8>(some[i]), pattern(seen)) << seen;
    if (n == 0)
      fabric::wait(machine_->state().console.produced, bell, fabric::monotonic_ns() + 100'000'000);
  }
  guest.join();
  EXPECT_EQ(seen, kBytes);
}

}  // namespace
}  // namespace dvm::vmm
