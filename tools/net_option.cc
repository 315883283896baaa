#include "tools/net_option.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>

#include "fabric/crc32c.h"
#include "vmm/virtio/net.h"

namespace dvm::tools {
namespace {

constexpr std::string_view kNetAllowed =
    "user[,hostfwd=tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT]... or tap=IFNAME[,queues=N]";
constexpr std::string_view kForwardAllowed = "tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT";

// Cuts off and returns what stands before `mark`; none if it is not there.
std::optional<std::string_view> cut(std::string_view& text, char mark) {
  const auto at = text.find(mark);
  if (at == text.npos) return std::nullopt;
  const auto head = text.substr(0, at);
  text.remove_prefix(at + 1);
  return head;
}

template <typename T>
std::optional<T> number(std::string_view text, T max, int base = 10) {
  T value = 0;
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || failure != std::errc{} || rest != text.data() + text.size() || value > max)
    return std::nullopt;
  return value;
}

Result<u16> parse_port(std::string_view text) {
  const auto port = number<u32>(text, 65535);
  if (!port || *port == 0) return usage_error("found port '{}'; allowed: 1 to 65535", text);
  return static_cast<u16>(*port);
}

Result<u32> parse_address(std::string_view text) {
  if (text.empty()) return u32{0};
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1)
    return usage_error("found address '{}'; allowed: an IPv4 address, 127.0.0.1, or none", text);
  return ntohl(address.s_addr);
}

std::string address_text(u32 address) {
  if (address == 0) return "";
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255,
                     address & 255);
}

Result<NetOption> parse_user(std::string_view rest, bool any) {
  NetOption option;
  while (any) {
    const auto comma = cut(rest, ',');
    std::string_view part = comma.value_or(rest);
    any = comma.has_value();
    constexpr std::string_view kKey = "hostfwd=";
    if (!part.starts_with(kKey))
      return usage_error("found '{}'; allowed after user: hostfwd={}", part, kForwardAllowed);
    DVM_ASSIGN(auto forward, parse_host_forward(part.substr(kKey.size())));
    if (option.forwards.size() == kMaxHostForwards)
      return usage_error("found more than {} hostfwd; allowed: that many", kMaxHostForwards);
    for (const HostForward& other : option.forwards) {
      if (other.udp == forward.udp && other.host_port == forward.host_port &&
          other.host_address == forward.host_address)
        return usage_error("hostfwd: found {} twice; allowed: once", host_end(forward));
    }
    option.forwards.push_back(forward);
  }
  return option;
}

Result<NetOption> parse_tap(std::string_view text) {
  NetOption option;
  option.kind = NetKind::tap;
  std::string_view name = text;
  const auto comma = cut(text, ',');
  if (comma) {
    name = *comma;
    constexpr std::string_view kKey = "queues=";
    const auto queues = text.starts_with(kKey)
                            ? number<u32>(text.substr(kKey.size()), vmm::kMaxNetPairs)
                            : std::nullopt;
    if (!queues || *queues == 0) {
      return usage_error("found '{}'; allowed after tap=IFNAME: queues=N, 1 to {}", text,
                         vmm::kMaxNetPairs);
    }
    option.queues = static_cast<u16>(*queues);
  }
  const bool good = !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%';
                    });
  if (!good) {
    return usage_error("found interface '{}'; allowed: a name of 1 to {} characters", name,
                       IFNAMSIZ - 1);
  }
  option.interface = name;
  return option;
}

}  // namespace

std::string host_end(const HostForward& f) {
  return fmt::format("{} {}:{}", f.udp ? "udp" : "tcp",
                     f.host_address == 0 ? "0.0.0.0" : address_text(f.host_address), f.host_port);
}

Result<HostForward> parse_host_forward(std::string_view text) {
  const std::string_view whole = text;
  const auto wrong = [&] {
    return usage_error("hostfwd: found '{}'; allowed: {}", whole, kForwardAllowed);
  };
  HostForward forward;
  const auto protocol = cut(text, ':');
  const auto host_address = cut(text, ':');
  const auto host_port = cut(text, '-');
  const auto guest_address = cut(text, ':');
  if (!protocol || !host_address || !host_port || !guest_address) return wrong();
  if (*protocol != "tcp" && *protocol != "udp") return wrong();
  forward.udp = *protocol == "udp";
  const auto read = [&]() -> Status {
    DVM_ASSIGN(forward.host_address, parse_address(*host_address));
    DVM_ASSIGN(forward.host_port, parse_port(*host_port));
    DVM_ASSIGN(forward.guest_address, parse_address(*guest_address));
    DVM_ASSIGN(forward.guest_port, parse_port(text));
    return {};
  };
  if (const Status done = read(); !done)
    return usage_error("hostfwd {}: {}", whole, done.error().message);
  return forward;
}

std::string host_forward_text(const HostForward& f) {
  return fmt::format("{}:{}:{}-{}:{}", f.udp ? "udp" : "tcp", address_text(f.host_address),
                     f.host_port, address_text(f.guest_address), f.guest_port);
}

Result<NetOption> parse_net(std::string_view text) {
  std::string_view rest = text;
  const auto comma = cut(rest, ',');
  if (comma.value_or(text) == "user") return parse_user(rest, comma.has_value());
  constexpr std::string_view kTap = "tap=";
  if (text.starts_with(kTap)) return parse_tap(text.substr(kTap.size()));
  return usage_error("found '{}'; allowed: {}", text, kNetAllowed);
}

std::string net_text(const NetOption& option) {
  if (option.kind == NetKind::tap) {
    return option.queues == 0 ? fmt::format("tap={}", option.interface)
                              : fmt::format("tap={},queues={}", option.interface, option.queues);
  }
  std::string text = "user";
  for (const HostForward& f : option.forwards) text += ",hostfwd=" + host_forward_text(f);
  return text;
}

Result<vmm::net::MacAddress> parse_mac(std::string_view text) {
  const std::string_view whole = text;
  vmm::net::MacAddress mac{};
  bool good = true;
  for (std::size_t i = 0; i < mac.size() && good; ++i) {
    const bool last = i + 1 == mac.size();
    const auto part = last ? std::optional(text) : cut(text, ':');
    const auto value = part && part->size() == 2 ? number<u32>(*part, 255, 16) : std::nullopt;
    good = value.has_value();
    if (good) mac[i] = static_cast<u8>(*value);
  }
  if (!good || vmm::net::is_multicast(mac) || mac == vmm::net::MacAddress{}) {
    return usage_error(
        "found '{}'; allowed: a unicast address of six hexadecimal bytes, 52:54:00:12:34:56",
        whole);
  }
  return mac;
}

std::string mac_text(const vmm::net::MacAddress& m) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4],
                     m[5]);
}

vmm::net::MacAddress default_mac(std::string_view guest_name) {
  const u32 hash = fabric::crc32c(std::as_bytes(std::span(guest_name)));
  // 02: locally administered, unicast; the name gives the rest.
  return {0x02,
          static_cast<u8>(guest_name.size()),
          static_cast<u8>(hash >> 24),
          static_cast<u8>(hash >> 16),
          static_cast<u8>(hash >> 8),
          static_cast<u8>(hash)};
}

}  // namespace dvm::tools
