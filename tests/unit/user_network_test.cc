// The network that libslirp makes, without a guest: frames made by hand go in, and sockets of this
// host are at the other end.
#include "tools/user_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "fabric/doorbell.h"
#include "tests/unit/net_frames.h"

namespace dvm::tools {
namespace {

using namespace dvm::testing;  // NOLINT: the frames
using vmm::net::kBroadcast;
using vmm::net::load_be16;

// A listening socket on a port that the kernel chose.
struct Listener {
  Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  u16 port = 0;
  Listener() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)), 0);
    EXPECT_EQ(::listen(fd.get(), 4), 0);
    socklen_t bytes = sizeof(at);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &bytes), 0);
    port = ntohs(at.sin_port);
  }
};

u16 free_port() { return Listener().port; }

class UserNetworkTest : public ::testing::Test {
 protected:
  void start(std::vector<HostForward> forwards = {}) {
    auto made = UserNetwork::create(
        forwards, [this](std::span<const std::byte> f) { got_.emplace_back(f.begin(), f.end()); });
    ASSERT_TRUE(made.ok()) << made.error().message;
    network_ = made.take();
  }
  void send(const Frame& frame) {
    network_->input(frame);
    network_->arm();
  }
  // The first frame that came and fits, at most two seconds from now.
  std::optional<Frame> await(const std::function<bool(const Frame&)>& fits) {
    const u64 until = fabric::monotonic_ns() + 2'000'000'000;
    for (;;) {
      for (const Frame& f : got_) {
        if (!fits(f)) continue;
        const Frame found = f;
        got_.clear();
        return found;
      }
      if (fabric::monotonic_ns() > until) return std::nullopt;
      ::usleep(1000);
      network_->serve();
    }
  }
  static bool is_tcp(const Frame& f, u8 flags) {
    const auto tcp = vmm::net::tcp_frame(f);
    return tcp && tcp->flags == flags;
  }
  Frame from_guest(const TcpSpec& s) {
    Frame f = tcp4(s);
    std::copy(f.begin() + 6, f.begin() + 12, f.begin());
    for (u32 i = 0; i < 6; ++i) f[6 + i] = static_cast<std::byte>(kGuestMac[i]);
    return f;
  }
  // So that slirp knows who has the guest's address.
  void announce() {
    Frame f = ethernet(kBroadcast, kGuestMac, 0x0806);
    put(f, {0, 1, 8, 0, 6, 4, 0, 1});
    for (const u8 b : kGuestMac) put(f, {b});
    put32(f, kGuestIp);
    f.resize(f.size() + 6);
    put32(f, kHostIp);
    send(f);
  }

  std::vector<Frame> got_;
  std::unique_ptr<UserNetwork> network_;
};

TEST_F(UserNetworkTest, ArpTellsWhereTheHostIs) {
  start();
  announce();
  const auto reply = await([](const Frame& f) { return load_be16(f, 12) == 0x0806; });
  ASSERT_TRUE(reply);
  EXPECT_EQ(load_be16(*reply, 20), 2) << "a reply";
  EXPECT_EQ(get32(*reply, 28), kHostIp);
}

TEST_F(UserNetworkTest, DhcpOffersTheUsualAddress) {
  start();
  Frame f = ethernet(kBroadcast, kGuestMac, 0x0800);
  constexpr u32 kBootpBytes = 240 + 4;
  put_ipv4(f, 17, 0, 0xffff'ffff, 8 + kBootpBytes);
  put16(f, 68);
  put16(f, 67);
  put16(f, 8 + kBootpBytes);
  put16(f, 0);
  const std::size_t bootp = f.size();
  put(f, {1, 1, 6, 0});
  put32(f, 0x1234'5678);
  f.resize(bootp + 28);
  for (const u8 b : kGuestMac) put(f, {b});
  f.resize(bootp + 236);
  put32(f, 0x6382'5363);
  put(f, {53, 1, 1, 255});  // DISCOVER
  send(f);
  const auto offer = await([](const Frame& got) {
    return got.size() > 284 && get8(got, 23) == 17 && load_be16(got, 36) == 68;
  });
  ASSERT_TRUE(offer);
  EXPECT_EQ(get32(*offer, 42 + 16), kGuestIp);
  EXPECT_EQ(get8(*offer, 42 + 242), 2) << "OFFER";
}

TEST_F(UserNetworkTest, APacketAsBigAsIpAllowsReachesAServerOfTheHost) {
  start();
  announce();
  Listener server;
  send(from_guest({.from = kGuestIp,
                   .to = kHostIp,
                   .from_port = 40000,
                   .to_port = server.port,
                   .sequence = 99,
                   .acknowledgement = 0,
                   .flags = 2}));
  const auto accepted = await([](const Frame& f) { return is_tcp(f, 0x12); });
  ASSERT_TRUE(accepted);
  EXPECT_TRUE(checksums_hold(*accepted));
  const u32 theirs = get32(*accepted, 38) + 1;
  send(from_guest({.from = kGuestIp,
                   .to = kHostIp,
                   .from_port = 40000,
                   .to_port = server.port,
                   .sequence = 100,
                   .acknowledgement = theirs}));
  // What segmentation offload hands over in one piece.
  const std::string data(60'000, 'x');
  send(from_guest({.from = kGuestIp,
                   .to = kHostIp,
                   .from_port = 40000,
                   .to_port = server.port,
                   .sequence = 100,
                   .acknowledgement = theirs,
                   .payload = data}));
  const Fd peer(::accept(server.fd.get(), nullptr, nullptr));
  std::size_t received = 0;
  std::array<char, 65536> buffer;
  while (received < data.size()) {
    pollfd due{peer.get(), POLLIN, 0};
    if (::poll(&due, 1, 10) > 0) {
      const ssize_t n = ::read(peer.get(), buffer.data(), buffer.size());
      ASSERT_GT(n, 0);
      received += static_cast<std::size_t>(n);
    }
    network_->serve();
  }
  EXPECT_EQ(received, data.size());
  EXPECT_TRUE(await([&](const Frame& f) { return is_tcp(f, 0x10) && get32(f, 42) == 60'100; }));
}

TEST_F(UserNetworkTest, AForwardLeadsIntoTheGuest) {
  const u16 port = free_port();
  start({HostForward{false, INADDR_LOOPBACK, port, 0, 22}});
  announce();
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)::connect(client.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at));
  const auto asked = await([](const Frame& f) { return is_tcp(f, 2); });
  ASSERT_TRUE(asked);
  EXPECT_EQ(get32(*asked, 30), kGuestIp);
  EXPECT_EQ(load_be16(*asked, 36), 22);
  const TcpSpec reply{.from = kGuestIp,
                      .to = get32(*asked, 26),
                      .from_port = 22,
                      .to_port = load_be16(*asked, 34),
                      .sequence = 500,
                      .acknowledgement = get32(*asked, 38) + 1,
                      .flags = 0x12};
  send(from_guest(reply));
  ASSERT_TRUE(await([](const Frame& f) { return is_tcp(f, 0x10); }));
  ASSERT_EQ(::write(client.get(), "hello", 5), 5);
  const auto data = await([](const Frame& f) { return is_tcp(f, 0x18) || is_tcp(f, 0x10); });
  ASSERT_TRUE(data);
  const auto tcp = vmm::net::tcp_frame(*data);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(data->data()) + tcp->payload, 5), "hello");
}

TEST_F(UserNetworkTest, APortThatIsTakenIsNamed) {
  Listener taken;
  const auto made = UserNetwork::create({HostForward{false, INADDR_LOOPBACK, taken.port, 0, 22}},
                                        [](std::span<const std::byte>) {});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().message,
            fmt::format("hostfwd tcp 127.0.0.1:{}: Address already in use", taken.port));
}

TEST_F(UserNetworkTest, RubbishIsSwallowed) {
  start();
  u32 random = 1;
  for (u32 i = 0; i < 2000; ++i) {
    Frame f = i % 2 == 0 ? from_guest({.payload = "abcdefgh"}) : tcp6({.payload = "abcdefgh"});
    for (int n = 0; n < 3; ++n) {
      random = random * 1664525 + 1013904223;
      f[random % f.size()] = static_cast<std::byte>(random >> 24);
    }
    f.resize(14 + (random >> 8) % (f.size() - 13));
    network_->input(f);
  }
  network_->arm();
  network_->serve();
}

}  // namespace
}  // namespace dvm::tools
