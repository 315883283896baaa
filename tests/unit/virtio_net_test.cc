#include "vmm/virtio/net.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "tests/unit/virtio_fake_driver.h"
#include "vmm/virtio/net_control.h"

namespace dvm::vmm {
namespace {

using namespace testing;  // NOLINT: the fake guest
using ring::kDescriptorNext;
using ring::kDescriptorWrite;

constexpr net::MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};
constexpr u64 kTso = net::kFeatureCsum | net::kFeatureHostTso4 | net::kFeatureHostTso6;
constexpr u16 kSize = 16;

// One queue, without the registers around it.
class NetQueueTest : public ::testing::Test {
 protected:
  NetQueueTest() {
    QueueSetup setup = make_queue_setup(kSize);
    setup.desc = kDesc;
    setup.avail = kAvail;
    setup.used = kUsed;
    setup.indirect = 1;
    queue_ = make_queue(setup, 1);
  }
  Chain pop() {
    Chain chain{};
    EXPECT_TRUE(queue_pop(queue_, guest_.memory, chain).value());
    return chain;
  }
  void put_header(const net::Header& header) { guest_.store(kBuffers, header); }
  // A chain of the header and `bytes` of frame, in one piece.
  bool transmit(const net::Header& header, u32 bytes, u64 features) {
    put_header(header);
    ring_.descriptor(0, kBuffers, static_cast<u32>(sizeof(header)) + bytes);
    ring_.offer(0);
    const bool good = net_tx_packet(guest_.memory, pop(), features, packet_);
    EXPECT_TRUE(queue_push_used(queue_, guest_.memory, 0, 0).ok());
    EXPECT_TRUE(queue_flush_used(queue_, guest_.memory).ok());
    return good;
  }
  // `count` chains of `bytes` each, from descriptor 0 on.
  void offer_buffers(u16 count, u32 bytes) {
    for (u16 i = 0; i < count; ++i) {
      ring_.descriptor(i, kBuffers + u64{i} * bytes, bytes, kDescriptorWrite);
      ring_.offer(i);
    }
  }
  static std::vector<std::byte> frame(std::size_t bytes) {
    std::vector<std::byte> f(bytes);
    for (std::size_t i = 0; i < bytes; ++i) f[i] = static_cast<std::byte>(i * 7 + 1);
    return f;
  }
  FakeGuest guest_;
  FakeRing ring_{guest_, kSize};
  QueueState queue_{};
  TxPacket packet_{};
};

TEST_F(NetQueueTest, ThePacketIsWhatFollowsTheHeaderHoweverItIsCut) {
  const net::Header header{.flags = 1, .csum_start = 34, .csum_offset = 16};
  const auto sent = frame(100);
  put_header(header);
  ASSERT_TRUE(guest_.memory.write(kBuffers + sizeof(header), sent).ok());
  for (u32 cut = 1; cut < 112; ++cut) {
    ring_.descriptor(0, kBuffers, cut, kDescriptorNext, 1);
    ring_.descriptor(1, kBuffers + cut, 112 - cut);
    ring_.offer(0);
    ASSERT_TRUE(net_tx_packet(guest_.memory, pop(), kTso, packet_)) << cut;
    EXPECT_EQ(std::memcmp(&packet_.header, &header, sizeof(header)), 0);
    ASSERT_EQ(packet_.bytes, 100u);
    std::vector<std::byte> copy(100);
    ASSERT_TRUE(net_copy_frame(guest_.memory, packet_, copy));
    EXPECT_EQ(copy, sent);
    ASSERT_TRUE(queue_push_used(queue_, guest_.memory, 0, 0).ok());
    ASSERT_TRUE(queue_flush_used(queue_, guest_.memory).ok());
  }
}

TEST_F(NetQueueTest, HeadersThatAskForTooMuchAreRefused) {
  using net::Header;
  EXPECT_TRUE(transmit({}, 60, 0));
  EXPECT_FALSE(transmit({}, 13, 0)) << "no Ethernet header";
  EXPECT_TRUE(transmit({}, kMaxFrameBytes, 0));
  EXPECT_FALSE(transmit({}, kMaxFrameBytes + 1, 0));
  const Header csum{.flags = 1, .csum_start = 34, .csum_offset = 16};
  EXPECT_TRUE(transmit(csum, 60, kTso));
  EXPECT_TRUE(transmit(csum, 52, kTso));
  EXPECT_FALSE(transmit(csum, 51, kTso)) << "the field is not in the packet";
  EXPECT_FALSE(transmit(csum, 60, 0)) << "not negotiated";
  EXPECT_FALSE(transmit({.flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff}, 1000, kTso));
  Header tso = csum;
  tso.gso_type = net::kGsoTcp4;
  tso.gso_size = 1460;
  EXPECT_TRUE(transmit(tso, 9000, kTso));
  EXPECT_FALSE(transmit(tso, 9000, net::kFeatureCsum | net::kFeatureHostTso6));
  tso.gso_type |= net::kGsoEcn;
  EXPECT_FALSE(transmit(tso, 9000, kTso));
  EXPECT_TRUE(transmit(tso, 9000, kTso | net::kFeatureHostEcn));
  tso.gso_type = 3;  // UDP
  EXPECT_FALSE(transmit(tso, 9000, ~u64{0}));
  tso.gso_type = net::kGsoTcp6;
  tso.gso_size = 0;
  EXPECT_FALSE(transmit(tso, 9000, kTso));
  tso.gso_size = 1460;
  tso.flags = 0;
  EXPECT_FALSE(transmit(tso, 9000, kTso)) << "segments need checksums";
  tso.gso_type = net::kGsoEcn;
  EXPECT_FALSE(transmit(tso, 9000, ~u64{0}));
}

TEST_F(NetQueueTest, APacketGoesIntoOneBuffer) {
  offer_buffers(1, 2048);
  const auto sent = frame(1514);
  const auto outcome =
      net_receive(queue_, guest_.memory, net::kFeatureMergeable, {.flags = 2, .gso_size = 7}, sent);
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(outcome.value(), RxOutcome::delivered);
  EXPECT_EQ(ring_.used_idx(), 0) << "not yet shown";
  ASSERT_TRUE(queue_flush_used(queue_, guest_.memory).ok());
  EXPECT_EQ(ring_.used(0).bytes_written, 1526u);
  const auto header = guest_.load<net::Header>(kBuffers);
  EXPECT_EQ(header.num_buffers, 1);
  EXPECT_EQ(header.flags, 2);
  EXPECT_EQ(header.gso_size, 7);
  EXPECT_EQ(std::memcmp(guest_.memory.span(kBuffers + 12, 1514).value().data(), sent.data(), 1514),
            0);
}

TEST_F(NetQueueTest, APacketIsSpreadOverAsManyBuffersAsItTakes) {
  offer_buffers(6, 512);
  const auto sent = frame(1514);
  ASSERT_EQ(net_receive(queue_, guest_.memory, net::kFeatureMergeable, {}, sent).value(),
            RxOutcome::delivered);
  ASSERT_TRUE(queue_flush_used(queue_, guest_.memory).ok());
  ASSERT_EQ(ring_.used_idx(), 3);
  EXPECT_EQ(guest_.load<net::Header>(kBuffers).num_buffers, 3);
  std::vector<std::byte> got(1526);
  EXPECT_EQ(ring_.used(0).bytes_written, 512u);
  EXPECT_EQ(ring_.used(1).bytes_written, 512u);
  EXPECT_EQ(ring_.used(2).bytes_written, 502u);
  ASSERT_TRUE(guest_.memory.read(kBuffers, got).ok());
  EXPECT_EQ(std::memcmp(got.data() + 12, sent.data(), sent.size()), 0);
}

TEST_F(NetQueueTest, TooFewBuffersLeaveTheQueueAsItWasAndAskForMore) {
  queue_.event_idx = 1;
  offer_buffers(2, 512);
  const QueueState before = queue_;
  const auto sent = frame(1514);
  ASSERT_EQ(net_receive(queue_, guest_.memory, net::kFeatureMergeable, {}, sent).value(),
            RxOutcome::no_buffers);
  EXPECT_EQ(std::memcmp(&before, &queue_, sizeof(before)), 0);
  EXPECT_EQ(ring_.avail_event(), 2) << "tell us of the third";
  ring_.descriptor(2, kBuffers + 1024, 512, kDescriptorWrite);
  ring_.offer(2);
  EXPECT_EQ(net_receive(queue_, guest_.memory, net::kFeatureMergeable, {}, sent).value(),
            RxOutcome::delivered);
}

TEST_F(NetQueueTest, WithoutMergingAPacketThatDoesNotFitIsNobodys) {
  offer_buffers(4, 1526);
  const QueueState before = queue_;
  EXPECT_EQ(net_receive(queue_, guest_.memory, 0, {}, frame(1515)).value(), RxOutcome::too_small);
  EXPECT_EQ(std::memcmp(&before, &queue_, sizeof(before)), 0);
  EXPECT_EQ(net_receive(queue_, guest_.memory, 0, {}, frame(1514)).value(), RxOutcome::delivered);
  EXPECT_EQ(net_receive(queue_, guest_.memory, 0, {}, frame(kMaxFrameBytes + 1)).value(),
            RxOutcome::too_small);
}

TEST_F(NetQueueTest, HostileBuffersEndInAnErrorOrNothing) {
  offer_buffers(1, 11);  // no room for the header
  EXPECT_FALSE(net_receive(queue_, guest_.memory, net::kFeatureMergeable, {}, frame(60)).ok());
  ring_.descriptor(0, kBuffers, 100);  // readable only
  EXPECT_FALSE(net_receive(queue_, guest_.memory, net::kFeatureMergeable, {}, frame(60)).ok());
  ring_.descriptor(0, kBuffers, 100, kDescriptorWrite);
  ring_.set_avail_idx(0);
  for (u16 i = 0; i < kSize; ++i) ring_.offer(0);  // the same again and again
  EXPECT_EQ(
      net_receive(queue_, guest_.memory, net::kFeatureMergeable, {}, frame(kMaxFrameBytes)).value(),
      RxOutcome::too_small);
  EXPECT_EQ(queue_.last_avail, 0);
}

// --- the whole function
// ----------------------------------------------------------------------------

u64 offered(const VirtioPciState& s) { return s.offered_features; }

TEST(VirtioNet, OffersWhatTheBackendCanDo) {
  const VirtioPciState plain = make_virtio_net({.mac = kMac, .offloads = false});
  EXPECT_EQ(offered(plain) & (kTso | net::kFeatureGuestCsum | net::kFeatureMultiqueue), 0u);
  EXPECT_NE(offered(plain) & net::kFeatureMergeable, 0u);
  const VirtioPciState full = make_virtio_net({.mac = kMac, .mtu = 9000});
  EXPECT_EQ(offered(full) & kTso, kTso);
  EXPECT_EQ(offered(full) & (net::kFeatureHostEcn | net::kFeatureGuestEcn), 0u);
  net::Config config;
  std::memcpy(&config, full.device_config.data(), sizeof(config));
  EXPECT_EQ(config.mac, kMac);
  EXPECT_EQ(config.status, net::kStatusLinkUp);
  EXPECT_EQ(config.mtu, 9000);
  EXPECT_EQ(full.device_config_bytes, sizeof(config));
}

TEST(VirtioNet, TheLinkGoesDownAndUp) {
  VirtioPciState s = make_virtio_net({.mac = kMac});
  EXPECT_FALSE(net_set_link(s, true));
  EXPECT_TRUE(net_set_link(s, false));
  EXPECT_EQ(s.device_config[6], 0);
  EXPECT_TRUE(net_set_link(s, true));
  EXPECT_EQ(s.device_config[6], 1);
}

TEST(VirtioNet, AnotherAddressIsAllThatChanges) {
  constexpr net::MacAddress kOther = {2, 1, 2, 3, 4, 5};
  VirtioPciState s = make_virtio_net({.mac = kMac, .pairs = 3, .mtu = 9000});
  net_set_mac(s, kOther);
  EXPECT_EQ(s.device_config,
            make_virtio_net({.mac = kOther, .pairs = 3, .mtu = 9000}).device_config);
}

TEST(VirtioNet, QueuesAreWhereTheDriverExpectsThem) {
  constexpr u64 kControl = net::kFeatureControlQueue, kMany = kControl | net::kFeatureMultiqueue;
  EXPECT_EQ(net_control_queue(0, 9), kNoQueue);
  EXPECT_EQ(net_control_queue(kControl, 9), 2) << "behind the one pair that is used";
  EXPECT_EQ(net_control_queue(kMany, 9), 8);
  EXPECT_EQ(net_queue_kind(kControl, 3, 0), NetQueue::receive);
  EXPECT_EQ(net_queue_kind(kControl, 3, 1), NetQueue::transmit);
  EXPECT_EQ(net_queue_kind(kControl, 3, 2), NetQueue::control);
  EXPECT_EQ(net_queue_kind(kControl, 3, 3), NetQueue::none);
  EXPECT_EQ(net_queue_kind(kMany, 9, 7), NetQueue::transmit);
  EXPECT_EQ(net_queue_kind(kMany, 9, 8), NetQueue::control);
  EXPECT_EQ(net_queue_kind(kMany, 9, 9), NetQueue::none);
}

// --- control commands
// ------------------------------------------------------------------------------

u8 command(NetControl& c, u8 command_class, u8 cmd, std::vector<u8> data) {
  return net_command(c, command_class, cmd, data, 4);
}

TEST(NetControlTest, ModesDecideWhatIsWanted) {
  NetControl c = make_net_control(kMac);
  const net::MacAddress other = {2, 0, 0, 0, 0, 9}, group = {1, 0, 0x5e, 0, 0, 1};
  EXPECT_TRUE(net_wants(c, other)) << "until the driver says otherwise";
  EXPECT_EQ(command(c, net::kClassRx, net::kRxPromiscuous, {0}), net::kAckOk);
  EXPECT_TRUE(net_wants(c, kMac));
  EXPECT_TRUE(net_wants(c, net::kBroadcast));
  EXPECT_FALSE(net_wants(c, other));
  EXPECT_FALSE(net_wants(c, group));
  command(c, net::kClassRx, net::kRxAllMulticast, {1});
  EXPECT_TRUE(net_wants(c, group));
  command(c, net::kClassRx, net::kRxNoMulticast, {1});
  EXPECT_FALSE(net_wants(c, group));
  command(c, net::kClassRx, net::kRxNoBroadcast, {1});
  EXPECT_FALSE(net_wants(c, net::kBroadcast));
  command(c, net::kClassRx, net::kRxAllUnicast, {1});
  EXPECT_TRUE(net_wants(c, other));
  EXPECT_EQ(command(c, net::kClassRx, 6, {1}), net::kAckError);
  EXPECT_EQ(command(c, net::kClassRx, 0, {2}), net::kAckError);
  EXPECT_EQ(command(c, net::kClassRx, 0, {}), net::kAckError);
}

TEST(NetControlTest, AddressTables) {
  NetControl c = make_net_control(kMac);
  command(c, net::kClassRx, net::kRxPromiscuous, {0});
  const net::MacAddress other = {2, 0, 0, 0, 0, 9}, group = {1, 0, 0x5e, 0, 0, 1};
  std::vector<u8> tables = {1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1};
  EXPECT_EQ(command(c, net::kClassMac, net::kMacTableSet, tables), net::kAckOk);
  EXPECT_TRUE(net_wants(c, other));
  EXPECT_TRUE(net_wants(c, group));
  for (std::size_t bytes = 0; bytes < tables.size(); ++bytes)
    EXPECT_EQ(command(c, net::kClassMac, 0,
                      {tables.begin(), tables.begin() + static_cast<std::ptrdiff_t>(bytes)}),
              net::kAckError);
  EXPECT_TRUE(net_wants(c, group)) << "a bad command changes nothing";
  tables.assign(8 + 6 * 33, 0);
  tables[0] = 33;
  EXPECT_EQ(command(c, net::kClassMac, 0, tables), net::kAckOk);
  EXPECT_TRUE(net_wants(c, {2, 2, 2, 2, 2, 2})) << "too many: all are let through";
  EXPECT_EQ(command(c, net::kClassMac, 0, {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), net::kAckError);
  EXPECT_EQ(command(c, net::kClassMac, net::kMacAddressSet, {2, 0, 0, 0, 0, 5}), net::kAckOk);
  EXPECT_EQ(c.mac, (net::MacAddress{2, 0, 0, 0, 0, 5}));
  EXPECT_EQ(command(c, net::kClassMac, net::kMacAddressSet, {3, 0, 0, 0, 0, 5}), net::kAckError);
}

TEST(NetControlTest, QueuePairs) {
  NetControl c = make_net_control(kMac);
  EXPECT_EQ(command(c, net::kClassMultiqueue, 0, {4, 0}), net::kAckOk);
  EXPECT_EQ(c.pairs, 4);
  EXPECT_EQ(command(c, net::kClassMultiqueue, 0, {5, 0}), net::kAckError);
  EXPECT_EQ(command(c, net::kClassMultiqueue, 0, {0, 0}), net::kAckError);
  EXPECT_EQ(command(c, net::kClassMultiqueue, 1, {1, 0}), net::kAckError);
  EXPECT_EQ(command(c, 9, 0, {1, 0}), net::kAckError);
  EXPECT_EQ(c.pairs, 4);
}

TEST_F(NetQueueTest, ACommandIsAnsweredInItsOwnChain) {
  NetControl control = make_net_control(kMac);
  guest_.store<std::array<u8, 4>>(kBuffers, {net::kClassMultiqueue, net::kPairsSet, 2, 0});
  guest_.store<u8>(kBuffers + 64, 0xee);
  ring_.descriptor(0, kBuffers, 2, kDescriptorNext, 1);
  ring_.descriptor(1, kBuffers + 2, 2, kDescriptorNext, 2);
  ring_.descriptor(2, kBuffers + 64, 1, kDescriptorWrite);
  ring_.offer(0);
  EXPECT_EQ(net_control_chain(control, guest_.memory, pop(), 4).value(), 1u);
  EXPECT_EQ(control.pairs, 2);
  EXPECT_EQ(guest_.load<u8>(kBuffers + 64), net::kAckOk);
  ring_.descriptor(1, kBuffers + 2, 0x1'0000, kDescriptorNext, 2);  // far too long
  ring_.offer(0);
  EXPECT_EQ(net_control_chain(control, guest_.memory, pop(), 4).value(), 1u);
  EXPECT_EQ(guest_.load<u8>(kBuffers + 64), net::kAckError);
  ring_.descriptor(0, kBuffers, 4);
  ring_.offer(0);
  EXPECT_FALSE(net_control_chain(control, guest_.memory, pop(), 4).ok()) << "nowhere to answer";
}

}  // namespace
}  // namespace dvm::vmm
