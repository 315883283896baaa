// The network device in a machine: numbers and leave to go out, deliveries, and processes that are
// killed while they serve a queue.
#include "vmm/net/net_device.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fabric/failpoint.h"
#include "tests/unit/machine_fixture.h"
#include "tests/unit/net_frames.h"
#include "tests/unit/virtio_fake_driver.h"
#include "vmm/net/tap_server.h"
#include "vmm/net/user_net_node.h"

namespace dvm::vmm {
namespace {

using namespace testing;       // NOLINT: the fake guest
using namespace dvm::testing;  // NOLINT: the frames

constexpr u32 kNet = 1;
constexpr u16 kSize = 8;

MachineSpec with_network() {
  MachineSpec spec = machine_spec(1);
  spec.config.functions[kNet] = {.kind = FunctionKind::net, .queues = 1, .flags = kNetOffloads};
  spec.config.functions[kNet].mac = kGuestMac;
  return spec;
}

// A machine whose driver has set up one queue, and the process that serves it.
struct World {
  std::unique_ptr<Machine> machine = make_machine(with_network());
  std::unique_ptr<Machine> process = attach_again(*machine, kNetInstance);
  NetDevice device{*machine, kNet};
  NetDevice served{*process, kNet};
  FakeGuest guest;
  FakeRing ring{guest, kSize};

  explicit World(u16 queue) {
    guest.memory = machine->memory();
    VirtioPciState s = machine->state().functions[kNet].device.published();
    FakePciDriver driver(s);
    EXPECT_TRUE(driver.negotiate(virtio::kFeatureVersion1 | net::kFeatureMergeable |
                                 net::kFeatureControlQueue));
    driver.enable_queue(queue, kSize);
    driver.add_status(virtio::kStatusDriverOk);
    machine->state().functions[kNet].device.reset(s);
  }
  void offer_packets(u16 from, u16 count) {
    for (u16 i = from; i < from + count; ++i) {
      const u64 at = kBuffers + u64{i} * 128;
      guest.store(at, net::Header{});
      guest.store<u64>(at + sizeof(net::Header) + 6, i);
      ring.descriptor(i % kSize, at, 12 + 60);
      ring.offer(i % kSize);
    }
  }
  u64 taken() { return machine->state().net.taken[0].load() & 0xffff; }
};

std::vector<u64> transmit(World& w) {
  std::vector<u64> sent;
  while (w.device.transmit(0, false, [&](const TxPacket& p) {
    std::vector<std::byte> frame(p.bytes);
    ASSERT_TRUE(net_copy_frame(w.machine->memory(), p, frame));
    u64 mark;
    std::memcpy(&mark, frame.data() + 6, sizeof(mark));
    sent.push_back(mark);
  }) != 0) {
  }
  return sent;
}

TEST(NetDeviceTest, PacketsGoOutInOrderAndAreNumbered) {
  World w(1);
  w.offer_packets(0, 5);
  EXPECT_EQ(transmit(w), (std::vector<u64>{0, 1, 2, 3, 4}));
  EXPECT_EQ(w.taken(), 5u);
  EXPECT_EQ(w.ring.used_idx(), 5);
  w.offer_packets(5, 6);
  EXPECT_EQ(transmit(w).size(), 6u);
  EXPECT_EQ(w.taken(), 11u);
}

TEST(NetDeviceTest, WhatIsNotReleasedWaitsInItsQueue) {
  World w(1);
  w.offer_packets(0, 1);
  EXPECT_EQ(transmit(w).size(), 1u);
  const u64 next = w.machine->state().net.taken[0].load();
  w.machine->state().net.release[0].store(next + 2);
  w.offer_packets(1, 5);
  EXPECT_EQ(transmit(w), (std::vector<u64>{1, 2}));
  EXPECT_EQ(w.ring.used_idx(), 3);
  EXPECT_TRUE(transmit(w).empty());
  w.machine->state().net.release[0].store(kReleaseAll);
  EXPECT_EQ(transmit(w), (std::vector<u64>{3, 4, 5}));
}

// The vCPU that notified is long gone: who reads the interface has to be woken.
TEST(NetDeviceTest, WhatWaitedForAnEpochsEndLeavesByATapOnceItIsReleased) {
  World w(1);
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
  const Fd outside(ends[1]), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::vector<Fd> taps;
  taps.emplace_back(ends[0]);
  TapServer server(*w.machine, kNet, std::move(taps), wake.duplicate().take());
  for (auto& release : w.machine->state().net.release) release.store(0);
  std::array<std::byte, 128> packet;
  u64 rings = 0;

  server.released();
  EXPECT_LT(::read(wake.get(), &rings, sizeof rings), 0) << "nothing was released";
  w.offer_packets(0, 1);
  server.serve(1, false);
  EXPECT_LT(::read(outside.get(), packet.data(), packet.size()), 0);
  w.device.release_offered();
  server.released();
  EXPECT_EQ(::read(wake.get(), &rings, sizeof rings), sizeof rings);
  server.serve(1, false);
  EXPECT_EQ(::read(outside.get(), packet.data(), packet.size()), 72);
}

// One that is put off; the interrupts so far.
u64 transmit_quietly(World& w) {
  EXPECT_NE(w.device.transmit(
                0, false, [](const TxPacket&) {}, true),
            0u);
  return w.machine->counters(kNet).interrupts.load();
}

TEST(NetDeviceTest, AnInterruptThatWasPutOffComesWhenItIsSettled) {
  World w(1);
  w.offer_packets(0, 1);
  EXPECT_EQ(transmit_quietly(w), 0u);
  EXPECT_EQ(w.ring.used_idx(), 1) << "shown at once";
  EXPECT_TRUE(w.served.owes_interrupts());
  w.process->settle_transmits();  // any process
  EXPECT_EQ(w.machine->counters(kNet).interrupts.load(), 1u);
  EXPECT_FALSE(w.device.owes_interrupts());
}

TEST(NetDeviceTest, ADriverThatLookedMeanwhileIsNotInterrupted) {
  World w(1);
  w.offer_packets(0, 2);
  EXPECT_EQ(transmit_quietly(w), 0u);
  w.ring.set_flags(ring::kAvailNoInterrupt);
  w.machine->settle_transmits();
  EXPECT_EQ(w.machine->counters(kNet).interrupts.load(), 0u);
  EXPECT_FALSE(w.device.owes_interrupts());
}

TEST(NetDeviceTest, NothingWaitsBehindWhatIsPutOffAlready) {
  World w(1);
  w.offer_packets(0, 1);
  EXPECT_EQ(transmit_quietly(w), 0u);
  w.offer_packets(1, 1);
  EXPECT_EQ(transmit_quietly(w), 1u);
  EXPECT_FALSE(w.device.owes_interrupts());
}

TEST(NetDeviceTest, ManyPacketsInterruptAtOnce) {
  World w(1);
  w.offer_packets(0, NetDevice::kFewPackets + 1);
  EXPECT_EQ(transmit_quietly(w), 1u);
  EXPECT_FALSE(w.device.owes_interrupts());
}

TEST(NetDeviceTest, PacketsWaitForBuffersAndAreDroppedWithoutADriver) {
  World w(0);
  net::PacketQueue packets;
  ASSERT_TRUE(packets.push(tcp4({.payload = "hello"}), {}, true));
  EXPECT_FALSE(w.device.deliver(packets));
  EXPECT_EQ(packets.size(), 1u);
  w.ring.descriptor(0, kBuffers, 2048, ring::kDescriptorWrite);
  w.ring.offer(0);
  EXPECT_TRUE(w.device.deliver(packets));
  EXPECT_EQ(w.ring.used_idx(), 1);
  World none(1);  // no receive queue
  ASSERT_TRUE(packets.push(tcp4({}), {}, true));
  EXPECT_TRUE(none.device.deliver(packets));
  EXPECT_EQ(none.machine->state().functions[kNet].counters.dropped.load(), 1u);
}

TEST(NetDeviceTest, ANodeAnswersCommandsAndPassesTheRestOn) {
  World w(2);
  UserNetNode node(*w.machine, kNet);
  w.guest.store<std::array<u8, 3>>(kBuffers, {net::kClassRx, net::kRxPromiscuous, 0});
  w.ring.descriptor(0, kBuffers, 3, ring::kDescriptorNext, 1);
  w.ring.descriptor(1, kBuffers + 64, 1, ring::kDescriptorWrite);
  w.ring.offer(0);
  w.guest.store<u8>(kBuffers + 64, 0xee);
  node.serve(2, false);
  EXPECT_EQ(w.guest.load<u8>(kBuffers + 64), net::kAckOk);
  EXPECT_EQ(w.ring.used_idx(), 1);
  const u32 rings = w.machine->state().net.work.rings.load();
  node.serve(1, false);
  node.serve(0, false);
  node.serve(7, false);
  EXPECT_EQ(w.machine->state().net.work.rings.load(), rings + 2);
  EXPECT_EQ(w.device.take_notified(), 3u);
}

// True: it was killed there.
bool die_at(World& w, const char* point, u32 skip, const std::function<void(NetDevice&)>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    static fabric::FaultTable table{};
    fabric::arm_fault(table, point, fabric::FaultAction::kill, skip, ~0u, 0);
    fabric::watch_faults(&table, 1);
    act(w.served);
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  w.machine->instances().retire(w.process->self(), fabric::InstanceState::dead);
  return WIFSIGNALED(status);
}

constexpr std::array kPoints = {"device.stepped", "device.published", "device.queue_served",
                                "device.line_driven", "device.msis_posted"};

TEST(NetDeviceTest, AKillWhileSendingLosesNoChainAndTheNumbersHold) {
  u32 deaths = 0;
  for (const char* point : kPoints) {
    for (u32 skip = 0; skip < 4; ++skip) {
      SCOPED_TRACE(fmt::format("{} {}", point, skip));
      World w(1);
      w.offer_packets(0, 5);
      if (!die_at(w, point, skip, [](NetDevice& d) { d.transmit(0, false, [](auto&) {}); })) break;
      ++deaths;
      w.device.republish(net_tx_queue(0));
      (void)transmit(w);
      EXPECT_EQ(w.ring.used_idx(), 5) << "each chain is given back once";
      w.offer_packets(5, 1);
      EXPECT_EQ(transmit(w), (std::vector<u64>{5}));
      EXPECT_EQ(w.taken(), 6u);
    }
  }
  EXPECT_GE(deaths, 5u);
}

TEST(NetDeviceTest, AKillWhileDeliveringLeavesTheQueueWhole) {
  u32 deaths = 0;
  for (const char* point : kPoints) {
    for (u32 skip = 0; skip < 4; ++skip) {
      SCOPED_TRACE(fmt::format("{} {}", point, skip));
      World w(0);
      for (u16 i = 0; i < 4; ++i) {
        w.ring.descriptor(i, kBuffers + u64{i} * 256, 256, ring::kDescriptorWrite);
        w.ring.offer(i);
      }
      const auto deliver = [](NetDevice& d) {
        net::PacketQueue packets;
        packets.push(tcp4({.payload = "hello"}), {}, true);
        d.deliver(packets);
      };
      if (!die_at(w, point, skip, deliver)) break;
      ++deaths;
      w.device.republish(net_rx_queue(0));
      const u16 before = w.ring.used_idx();
      EXPECT_LE(before, 1);
      deliver(w.device);
      ASSERT_EQ(w.ring.used_idx(), before + 1);
      for (u16 i = 0; i <= before; ++i) EXPECT_EQ(w.ring.used(i).head, i);
    }
  }
  EXPECT_GE(deaths, 3u);
}

}  // namespace
}  // namespace dvm::vmm
