// Keys in, serial output out: with a guest that is only a serial port.
#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "tests/unit/test_machine.h"
#include "tools/bell_watcher.h"
#include "tools/console_input.h"
#include "tools/console_output.h"

namespace dvm::tools {
namespace {

using vmm::layout::kSerialPort;

TEST(EscapeKeys, PassEverythingButTheirOwn) {
  EscapeKeys keys;
  std::string out;
  EXPECT_EQ(keys.filter("ab\x03\x1a\x04", out), KeyCommand::none);
  EXPECT_EQ(out, "ab\x03\x1a\x04");
  EXPECT_EQ(keys.filter("\x01", out), KeyCommand::none);  // the rest comes with the next read
  EXPECT_EQ(keys.filter("a!", out), KeyCommand::none);
  EXPECT_EQ(out, "ab\x03\x1a\x04\x01!");
  EXPECT_EQ(keys.filter("\x01h1", out), KeyCommand::help);
  EXPECT_EQ(keys.filter("2\x01x3", out), KeyCommand::quit);
  EXPECT_EQ(keys.filter("\x01q4\x01\x01", out), KeyCommand::none);
  EXPECT_EQ(out, "ab\x03\x1a\x04\x01!124\x01");
}

class ConsoleTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  void TearDown() override {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void guest_prints(std::string_view text) {
    for (const char c : text) machine_->port_write(kSerialPort, 1, static_cast<u8>(c));
  }
  // One byte, if the guest's receiver has one.
  std::optional<char> guest_reads() {
    if ((machine_->port_read(kSerialPort + 5, 1) & 1) == 0) return std::nullopt;
    return static_cast<char>(machine_->port_read(kSerialPort, 1));
  }
  std::string guest_reads_until(std::size_t bytes) {
    std::string got;
    for (const u64 end = fabric::monotonic_ns() + 5'000'000'000; got.size() < bytes;) {
      if (const auto c = guest_reads()) {
        got += *c;
      } else if (fabric::monotonic_ns() > end) {
        break;
      } else {
        std::this_thread::yield();
      }
    }
    return got;
  }

  // Writes what the guest has printed; false if that was nothing.
  bool drain(ConsoleOutput& output) {
    std::array<char, 4096> part;
    bool any = false;
    while (const std::size_t n = machine_->console_output(part)) {
      any = true;
      EXPECT_TRUE(output.write(std::span(part).first(n)).ok());
    }
    return any;
  }

  std::unique_ptr<vmm::Machine> machine_ = vmm::make_test_machine(1, 1);
  TypedInput typed_{*machine_};
  int ends_[2] = {-1, -1};
};

TEST_F(ConsoleTest, OutputReachesAPipe) {
  auto output = ConsoleOutput::open(ends_[1]);
  ASSERT_TRUE(output.ok());
  guest_prints("hello");
  EXPECT_TRUE(drain(*output));
  EXPECT_FALSE(drain(*output));
  char text[16] = {};
  EXPECT_EQ(::read(ends_[0], text, sizeof(text)), 5);
  EXPECT_STREQ(text, "hello");
}

TEST_F(ConsoleTest, AReaderThatIsGoneDoesNotHoldTheGuest) {
  auto output = ConsoleOutput::open(ends_[1]);
  ASSERT_TRUE(output.ok());
  ::close(ends_[0]);
  ends_[0] = -1;
  ::signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 3; ++i) {
    guest_prints(std::string(30'000, 'x'));
    EXPECT_TRUE(drain(*output));
  }
}

TEST_F(ConsoleTest, AReaderThatStallsIsGivenUpAtTheEnd) {
  auto output = ConsoleOutput::open(ends_[1]);
  ASSERT_TRUE(output.ok());
  std::thread drainer([&] {
    for (int i = 0; i < 4; ++i) {
      guest_prints(std::string(30'000, 'x'));
      drain(*output);  // the pipe holds 64 KiB
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const u64 begin = fabric::monotonic_ns();
  output->give_up();
  drainer.join();
  EXPECT_LT(fabric::monotonic_ns() - begin, 3'000'000'000u);
}

TEST_F(ConsoleTest, ASlowReaderGetsAll) {
  auto output = ConsoleOutput::open(ends_[1]);
  ASSERT_TRUE(output.ok());
  std::string got;
  std::thread reader([&] {
    char part[1000];
    while (got.size() < 150'000) {
      const ssize_t n = ::read(ends_[0], part, sizeof(part));
      if (n <= 0) break;
      got.append(part, static_cast<std::size_t>(n));
    }
  });
  std::string sent;
  for (int i = 0; i < 10; ++i) {
    const std::string text(15'000, static_cast<char>('a' + i));
    guest_prints(text);
    drain(*output);
    sent += text;
  }
  reader.join();
  EXPECT_EQ(got, sent);
}

TEST_F(ConsoleTest, InputWaitsForRoomAndLosesNothing) {
  machine_->port_write(kSerialPort + 2, 1, 1);  // FIFOs on
  auto input = ConsoleInput::start(typed_, ends_[0], false, [](KeyCommand) {});
  ASSERT_TRUE(input.ok());
  BellWatcher watcher(machine_->state().console.produced, [&] { return typed_.push(); });
  std::string sent;
  for (int i = 0; i < 100'000; ++i) sent += static_cast<char>('a' + i % 26);
  std::thread writer([&] {
    for (std::size_t at = 0; at < sent.size();) {
      const ssize_t n = ::write(ends_[1], sent.data() + at, sent.size() - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
  });
  EXPECT_EQ(guest_reads_until(sent.size()), sent);
  writer.join();
}

TEST_F(ConsoleTest, EndOfInputIsNotTheEnd) {
  int commands = 0;
  auto input = ConsoleInput::start(typed_, ends_[0], false, [&](KeyCommand) { ++commands; });
  ASSERT_TRUE(input.ok());
  ASSERT_EQ(::write(ends_[1], "a\x01x", 3), 3);  // no keys of ours in a pipe
  ::close(ends_[1]);
  ends_[1] = -1;
  BellWatcher watcher(machine_->state().console.produced, [&] { return typed_.push(); });
  EXPECT_EQ(guest_reads_until(3), "a\x01x");
  EXPECT_EQ(commands, 0);
}

TEST_F(ConsoleTest, TheQuitKeyWorksWhileInputIsHeldBack) {
  std::atomic<bool> quit{false};
  auto input = ConsoleInput::start(typed_, ends_[0], true,
                                   [&](KeyCommand c) { quit = c == KeyCommand::quit; });
  ASSERT_TRUE(input.ok());
  const std::string typed = std::string(100'000, 'x') + "\x01x";
  for (std::size_t at = 0; at < typed.size();) {
    const ssize_t n = ::write(ends_[1], typed.data() + at, typed.size() - at);
    ASSERT_GT(n, 0);
    at += static_cast<std::size_t>(n);
  }
  for (int i = 0; i < 500 && !quit; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(quit);
}

}  // namespace
}  // namespace dvm::tools
