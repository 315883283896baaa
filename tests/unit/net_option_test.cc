#include "tools/net_option.h"

#include <gtest/gtest.h>

namespace dvm::tools {
namespace {

TEST(NetOption, UserWithForwards) {
  const auto plain = parse_net("user");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain.value().kind, NetKind::user);
  EXPECT_TRUE(plain.value().forwards.empty());
  const auto two = parse_net("user,hostfwd=tcp::8080-:80,hostfwd=udp:127.0.0.1:53-10.0.2.20:5353");
  ASSERT_TRUE(two.ok()) << two.error().message;
  ASSERT_EQ(two.value().forwards.size(), 2u);
  EXPECT_EQ(two.value().forwards[0], (HostForward{false, 0, 8080, 0, 80}));
  EXPECT_EQ(two.value().forwards[1], (HostForward{true, 0x7f00'0001, 53, 0x0a00'0214, 5353}));
  EXPECT_EQ(host_end(two.value().forwards[0]), "tcp 0.0.0.0:8080");
}

TEST(NetOption, Tap) {
  const auto plain = parse_net("tap=tap0");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain.value().kind, NetKind::tap);
  EXPECT_EQ(plain.value().interface, "tap0");
  EXPECT_EQ(plain.value().queues, 0);
  EXPECT_EQ(parse_net("tap=dvm.0,queues=8").value().queues, 8);
}

TEST(NetOption, IsSaidAgainAsItWasSaid) {
  for (const char* text :
       {"user", "user,hostfwd=tcp::8080-:80", "tap=t0", "tap=t0,queues=3",
        "user,hostfwd=udp:127.0.0.1:5000-10.0.2.15:6000,hostfwd=tcp:127.0.0.2:1-:65535"}) {
    const auto option = parse_net(text);
    ASSERT_TRUE(option.ok()) << text;
    EXPECT_EQ(net_text(option.value()), text);
  }
}

TEST(NetOption, WhatIsWrongIsNamed) {
  const auto message = [](std::string_view text) {
    const auto option = parse_net(text);
    if (option.ok()) return std::string();
    EXPECT_EQ(option.error().kind, ErrorKind::usage);
    EXPECT_EQ(option.error().message.find('\n'), std::string::npos);
    return option.error().message;
  };
  const auto names = [&](std::string_view text, std::string_view what) {
    const std::string m = message(text);
    EXPECT_NE(m.find(what), std::string::npos) << text << ": " << m;
  };
  names("", "allowed: user");
  names("bridge", "'bridge'");
  names("users", "'users'");
  names("user,", "''");
  names("user,smb=/", "'smb=/'");
  names("user,hostfwd=tcp::0-:80", "port '0'");
  names("user,hostfwd=tcp::65536-:80", "port '65536'");
  names("user,hostfwd=tcp::80x-:80", "port '80x'");
  names("user,hostfwd=tcp::80-:", "port ''");
  names("user,hostfwd=sctp::80-:80", "tcp|udp");
  names("user,hostfwd=tcp:80", "tcp|udp");
  names("user,hostfwd=tcp:localhost:80-:80", "'localhost'");
  names("user,hostfwd=tcp:1.2.3:80-:80", "'1.2.3'");
  names("user,hostfwd=tcp::80-:80,hostfwd=tcp::80-:81", "twice");
  names("tap=", "interface ''");
  names("tap=a/b", "'a/b'");
  names("tap=0123456789abcdef", "1 to 15");
  names("tap=t,queues=0", "'queues=0'");
  names("tap=t,queues=9", "1 to 8");
  names("tap=t,vhost=on", "'vhost=on'");
  std::string many = "user";
  for (int port = 1; port <= 65; ++port) many += fmt::format(",hostfwd=tcp::{}-:1", port);
  names(many, "more than 64");
}

TEST(NetOption, MacAddresses) {
  const auto mac = parse_mac("52:54:00:aB:cd:01");
  ASSERT_TRUE(mac.ok());
  EXPECT_EQ(mac_text(mac.value()), "52:54:00:ab:cd:01");
  for (const char* bad :
       {"", "52:54:00:ab:cd", "52:54:00:ab:cd:1", "52:54:00:ab:cd:01:02", "52-54-00-ab-cd-01",
        "01:00:5e:00:00:01", "00:00:00:00:00:00", "zz:54:00:ab:cd:01", "52:54:00:ab:cd:0x"})
    EXPECT_FALSE(parse_mac(bad).ok()) << bad;
}

TEST(NetOption, AGuestKeepsItsAddress) {
  EXPECT_EQ(default_mac("demo"), default_mac("demo"));
  EXPECT_NE(default_mac("demo"), default_mac("demo2"));
  EXPECT_EQ(default_mac("demo")[0] & 3, 2) << "locally administered, unicast";
  EXPECT_TRUE(parse_mac(mac_text(default_mac("x"))).ok());
}

}  // namespace
}  // namespace dvm::tools
