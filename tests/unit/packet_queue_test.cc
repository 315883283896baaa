#include "vmm/net/packet_queue.h"

#include <gtest/gtest.h>

#include "tests/unit/net_frames.h"

namespace dvm::vmm::net {
namespace {

using namespace dvm::testing;  // NOLINT: the frames

constexpr ReceiveOffloads kAll{true, true, true};

std::string text(std::size_t bytes, char first) {
  std::string s(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i) s[i] = static_cast<char>(first + i % 23);
  return s;
}

// As the guest does with a joined packet: the checksum that was left to it.
Frame finished(const Packet& p) {
  Frame f = p.frame;
  if ((p.header.flags & kHeaderNeedsCsum) == 0) return f;
  EXPECT_TRUE(finish_checksum(f, p.header));
  return f;
}

TEST(FrameTest, ChecksumsOfKnownFrames) {
  // RFC 1071 §3's example: 0001 f203 f4f5 f6f7 sums to ddf2.
  Frame words;
  put(words, {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7});
  EXPECT_EQ(ones_sum(words), 0xddf2);
  EXPECT_EQ(ones_sum(std::span(words).first(3)), 0xf201) << "an odd byte counts as the upper one";
  Frame f = tcp4({.payload = "abc"});
  EXPECT_TRUE(checksums_hold(f));
  f.back() ^= std::byte{1};
  EXPECT_FALSE(checksums_hold(f));
}

TEST(FrameTest, FlowsHashTheSameInBothDirections) {
  const u32 there = flow_hash(tcp4({}));
  const u32 back =
      flow_hash(tcp4({.from = kGuestIp, .to = kHostIp, .from_port = 40000, .to_port = 80}));
  EXPECT_EQ(there, back);
  EXPECT_NE(there, flow_hash(tcp4({.to_port = 40001})));
  EXPECT_NE(flow_hash(tcp6({})), 0u);
  EXPECT_EQ(flow_hash(ethernet(kBroadcast, kGuestMac, 0x0806)), 0u);
}

TEST(FrameTest, NothingBeyondTheFrameIsLookedAt) {
  for (const Frame& whole : {tcp4({.payload = "data"}), tcp6({.payload = "data"})}) {
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      const Frame cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
      EXPECT_FALSE(tcp_frame(cut)) << bytes;
      (void)flow_hash(cut);
    }
    EXPECT_TRUE(tcp_frame(whole));
  }
  Frame f = tcp4({});
  EXPECT_FALSE(finish_checksum(f, {.csum_start = 50, .csum_offset = 4}));
  EXPECT_FALSE(finish_checksum(f, {.csum_start = 65535, .csum_offset = 65535}));
}

class JoinTest : public ::testing::TestWithParam<bool> {
 protected:
  Frame segment(const TcpSpec& s) const { return GetParam() ? tcp6(s) : tcp4(s); }
  bool push(const TcpSpec& s) { return queue_.push(segment(s), kAll, true); }
  PacketQueue queue_;
};

TEST_P(JoinTest, SegmentsThatFollowOneAnotherBecomeOnePacket) {
  const std::string whole = text(3000, 'a');
  const std::string_view view = whole;
  ASSERT_TRUE(push({.sequence = 1000, .payload = view.substr(0, 1400), .id = 1}));
  ASSERT_TRUE(push({.sequence = 2400, .payload = view.substr(1400, 1400), .id = 2}));
  ASSERT_TRUE(
      push({.sequence = 3800, .flags = kTcpAck | kTcpPush, .payload = view.substr(2800), .id = 3}));
  ASSERT_EQ(queue_.size(), 1u);
  const Packet& p = queue_.front();
  EXPECT_EQ(p.header.gso_size, 1400);
  EXPECT_EQ(p.header.gso_type, GetParam() ? kGsoTcp6 : kGsoTcp4);
  const Frame f = finished(p);
  EXPECT_TRUE(checksums_hold(f));
  const auto tcp = tcp_frame(f);
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->flags, kTcpAck | kTcpPush);
  EXPECT_EQ(tcp->end, f.size());
  EXPECT_EQ(std::memcmp(f.data() + tcp->payload, whole.data(), whole.size()), 0);
  EXPECT_EQ(f.size() - tcp->payload, whole.size());
}

TEST_P(JoinTest, WhatDoesNotFollowStaysApart) {
  const std::string data = text(100, 'a');
  const TcpSpec first{.sequence = 1000, .payload = data};
  const TcpSpec good{.sequence = 1100, .payload = data};
  const auto apart = [&](TcpSpec second) {
    queue_.clear();
    EXPECT_TRUE(push(first));
    EXPECT_TRUE(push(second));
    return queue_.size() == 2;
  };
  EXPECT_FALSE(apart(good));
  const auto with = [&](auto change) {
    TcpSpec s = good;
    change(s);
    return apart(s);
  };
  EXPECT_TRUE(with([](TcpSpec& s) { s.sequence = 1101; }));
  EXPECT_TRUE(with([](TcpSpec& s) { s.acknowledgement = 2001; }));
  EXPECT_TRUE(with([](TcpSpec& s) { s.from_port = 81; }));
  EXPECT_TRUE(with([](TcpSpec& s) { s.flags = kTcpAck | 1; }));
  EXPECT_TRUE(with([](TcpSpec& s) { s.payload = {}; }));
  const std::string longer = text(101, 'a');
  EXPECT_TRUE(with([&](TcpSpec& s) { s.payload = longer; })) << "all but the last are of one size";
}

TEST_P(JoinTest, AShortOneOrAPushedOneIsTheLast) {
  const std::string data = text(100, 'a');
  push({.sequence = 0, .payload = data});
  push({.sequence = 100, .payload = std::string_view(data).substr(0, 50)});
  push({.sequence = 150, .payload = std::string_view(data).substr(0, 50)});
  EXPECT_EQ(queue_.size(), 2u);
  queue_.clear();
  push({.sequence = 0, .flags = kTcpAck | kTcpPush, .payload = data});
  push({.sequence = 100, .payload = data});
  EXPECT_EQ(queue_.size(), 2u);
}

TEST_P(JoinTest, APacketStaysWithinTheIpLengthField) {
  const std::string data = text(1460, 'a');
  u32 sequence = 0;
  for (int i = 0; i < 100; ++i, sequence += 1460)
    ASSERT_TRUE(push({.sequence = sequence, .payload = data}));
  u64 payload = 0;
  while (!queue_.empty()) {
    const Frame f = finished(queue_.front());
    EXPECT_LE(f.size(), 14u + 65535u);
    EXPECT_TRUE(checksums_hold(f));
    payload += f.size() - tcp_frame(f)->payload;
    queue_.pop();
  }
  EXPECT_EQ(payload, 146'000u);
}

INSTANTIATE_TEST_SUITE_P(Ip, JoinTest, ::testing::Bool());

TEST(PacketQueueTest, ADriverWithoutOffloadsGetsEachAsItCame) {
  PacketQueue queue;
  queue.push(tcp4({.sequence = 0, .payload = "1234"}), {}, true);
  queue.push(tcp4({.sequence = 4, .payload = "5678"}), {}, true);
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue.front().header.flags, 0);
  queue.clear();
  queue.push(tcp4({.payload = "1234"}), kAll, false);
  EXPECT_EQ(queue.front().header.flags, 0) << "nobody has looked at its checksum";
  queue.clear();
  queue.push(tcp4({.payload = "1234"}), kAll, true);
  EXPECT_EQ(queue.front().header.flags, kHeaderDataValid);
}

TEST(PacketQueueTest, IsBounded) {
  PacketQueue queue;
  const Frame f = tcp4({.flags = 2});
  std::size_t pushed = 0;
  while (queue.push(f, kAll, true)) ++pushed;
  EXPECT_EQ(pushed, PacketQueue::kMaxPackets);
  queue.pop();
  EXPECT_TRUE(queue.push(f, Header{}));
  queue.clear();
  const Frame big(60'000);
  pushed = 0;
  while (queue.push(big, Header{})) ++pushed;
  EXPECT_EQ(pushed, PacketQueue::kMaxBytes / big.size());
}

}  // namespace
}  // namespace dvm::vmm::net
