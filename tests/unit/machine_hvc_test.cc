// The virtio console on a whole machine: output through the ring in the pool, input into the
// driver's buffers, both held back when there is no room, and nothing lost or doubled by a death.
#include "tests/unit/machine_driver.h"

namespace dvm::vmm {
namespace {

using namespace testing;

constexpr u32 kFunction = 1;
constexpr u64 kText = 0x20'0000;

class MachineHvc : public ::testing::Test {
 protected:
  MachineHvc() {
    MachineSpec spec = machine_spec(1);
    spec.config.functions[kFunction].kind = FunctionKind::console;
    spec.capacity[kFunction] = ConsoleSize{}.packed();
    machine_ = make_machine(spec);
    driver_.emplace(*machine_, kFunction);
    driver_->start(virtio::kConsoleFeatureSize, 2);
  }
  void print(std::string_view text, u16 first = 0) {
    ASSERT_TRUE(machine_->memory().write(kText, std::as_bytes(std::span(text))).ok());
    driver_->offer(kConsoleTransmitQueue, {{kText, static_cast<u32>(text.size()), false}}, first);
  }
  std::string output(std::size_t most = 1 << 20) {
    std::string got(most, '\0');
    got.resize(machine_->console_output(ConsolePort::virtio, got));
    return got;
  }

  std::unique_ptr<Machine> machine_;
  std::optional<MachineDriver> driver_;
};

TEST_F(MachineHvc, WhatTheDriverSendsComesOut) {
  print("hello, ");
  print("world");
  EXPECT_EQ(output(), "hello, world");
  EXPECT_EQ(output(), "");
  EXPECT_EQ(driver_->used(kConsoleTransmitQueue), 2);
  const auto& counters = machine_->state().functions[kFunction].counters;
  EXPECT_EQ(counters.out_bytes.load(), 12u);
  EXPECT_EQ(counters.out_ops.load(), 2u);
  EXPECT_EQ(counters.notifications.load(), 2u);
}

TEST_F(MachineHvc, AFullRingHoldsTheDriverBackAndLosesNothing) {
  std::string all;
  for (u64 i = 0; all.size() < 2 * ConsoleOut::kBytes; ++i) all += fmt::format("{} ", i);
  print(all);
  EXPECT_EQ(driver_->used(kConsoleTransmitQueue), 0) << "the chain is larger than the ring";
  std::string got;
  for (;;) {
    const std::string part = output(999);
    if (part.empty()) break;
    got += part;
  }
  EXPECT_EQ(got, all);
  EXPECT_EQ(driver_->used(kConsoleTransmitQueue), 1);
}

TEST_F(MachineHvc, InputGoesIntoBuffersAndWaitsForMore) {
  const std::string text = "typed text";
  EXPECT_EQ(machine_->console_input(ConsolePort::virtio, text), 0u) << "no buffer yet";
  machine_->state().virtio_console.reader_waits.store(1);
  const u32 before = fabric::listen(machine_->state().virtio_console.produced);
  driver_->offer(kConsoleReceiveQueue, {{kText, 4, true}}, 0);
  EXPECT_NE(fabric::listen(machine_->state().virtio_console.produced), before) << "there is room";
  EXPECT_EQ(machine_->console_input(ConsolePort::virtio, text), 4u);
  driver_->offer(kConsoleReceiveQueue, {{kText + 4, 2, true}, {kText + 6, 100, true}}, 1);
  EXPECT_EQ(machine_->console_input(ConsolePort::virtio, std::string_view(text).substr(4)), 6u);
  std::string got(text.size(), '\0');
  ASSERT_TRUE(machine_->memory().read(kText, std::as_writable_bytes(std::span(got))).ok());
  EXPECT_EQ(got, text);
  EXPECT_EQ(driver_->used(kConsoleReceiveQueue), 2);
  EXPECT_EQ(driver_->used_bytes(kConsoleReceiveQueue, 1), 6u);
}

TEST_F(MachineHvc, TheTerminalsSizeIsTold) {
  EXPECT_EQ(driver_->config(0, 2), 80u);
  EXPECT_EQ(driver_->config(2, 2), 24u);
  machine_->set_console_size({132, 50});
  EXPECT_EQ(driver_->config(0, 2), 132u);
  EXPECT_EQ(driver_->config(2, 2), 50u);
  machine_->reset_devices();
  EXPECT_EQ(ConsoleSize::unpack(machine_->state().functions[kFunction].capacity.load()),
            (ConsoleSize{132, 50}));
}

TEST_F(MachineHvc, TheNumberingGoesOnAfterADriversReset) {
  print("before ");
  driver_->start(virtio::kConsoleFeatureSize, 2);
  ASSERT_TRUE(machine_->memory().fill(0x10'1000, 0x1000, std::byte{0}).ok());
  driver_->start(virtio::kConsoleFeatureSize, 2);
  print("after");
  EXPECT_EQ(output(), "before after");
}

TEST_F(MachineHvc, ABadChainIsTheDriversFaultAlone) {
  driver_->offer(kConsoleTransmitQueue, {{0xb800'0000, 10, false}}, 0);
  EXPECT_NE(driver_->status() & virtio::kStatusNeedsReset, 0);
  EXPECT_EQ(output(), "");
}

TEST_F(MachineHvc, AnotherProcessSendsTheSameBytesAfterADeath) {
  // The dead one had filled the ring's slots and not published.
  VirtioFunction& f = machine_->state().functions[kFunction];
  const std::string text = "once";
  ASSERT_TRUE(machine_->memory().write(kText, std::as_bytes(std::span(text))).ok());
  driver_->offer(kConsoleTransmitQueue, {{kText, 4, false}}, 0, /*notify=*/false);
  const auto dead = attach_again(*machine_, kFirstNodeInstance);
  (void)fabric::acquire(f.queues[kConsoleTransmitQueue].lock, dead->self(), machine_->instances());
  machine_->instances().retire(dead->self(), fabric::InstanceState::dead);
  machine_->mend_devices();
  machine_->mend_devices();
  EXPECT_EQ(output(), "once");
  EXPECT_EQ(driver_->used(kConsoleTransmitQueue), 1);
}

}  // namespace
}  // namespace dvm::vmm
