// --net and --mac: what network a guest has, as said on a command line or in a configuration file.
//   user[,hostfwd=tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT]...
//   tap=IFNAME[,queues=N]
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "vmm/virtio/net_registers.h"

namespace dvm::tools {

inline constexpr u32 kMaxHostForwards = 64;

// IPv4 addresses in host order; 0: all of the host's, the guest's first DHCP lease.
struct HostForward {
  bool udp = false;
  u32 host_address = 0;
  u16 host_port = 0;
  u32 guest_address = 0;
  u16 guest_port = 0;
  friend bool operator==(const HostForward&, const HostForward&) = default;
};
// "tcp 127.0.0.1:8080", for messages.
std::string host_end(const HostForward& forward);

enum class NetKind { user, tap };

struct NetOption {
  NetKind kind = NetKind::user;
  std::vector<HostForward> forwards;  // user
  std::string interface;              // tap
  u16 queues = 0;                     // tap; 0: one for each vCPU, as far as there may be
  friend bool operator==(const NetOption&, const NetOption&) = default;
};

// Errors read "found X; allowed: Y".
Result<NetOption> parse_net(std::string_view text);
// As it was said, for the process that carries it out.
std::string net_text(const NetOption& option);
Result<HostForward> parse_host_forward(std::string_view text);
std::string host_forward_text(const HostForward& forward);

// "52:54:00:12:34:56": unicast, not zero.
Result<vmm::net::MacAddress> parse_mac(std::string_view text);
std::string mac_text(const vmm::net::MacAddress& mac);
// The same for the same name; locally administered (IEEE 802 §8.4).
vmm::net::MacAddress default_mac(std::string_view guest_name);

}  // namespace dvm::tools
