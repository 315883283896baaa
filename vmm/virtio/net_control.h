// The network device's control queue (virtio 1.2 §5.1.6.5): which packets the driver wants, its
// address, and how many queue pairs it uses. Lies in the pool: plain bytes.
#pragma once

#include <span>

#include "hyperkernel/guest_memory.h"
#include "vmm/virtio/net.h"

namespace dvm::vmm {

struct NetControl {
  static constexpr u32 kMaxAddresses = 32;  // of unicast and multicast together
  net::MacAddress mac;
  u16 pairs;       // that packets may be received on
  u32 generation;  // of the set-up (VirtioPciState::generation) in which this was said
  // The driver's wishes (kClassRx), each 0 or 1, by command.
  std::array<u8, 6> modes;
  u8 overflow;  // the tables given were too long: everything is wanted
  u8 address_count;
  std::array<net::MacAddress, kMaxAddresses> addresses;
};
static_assert(sizeof(NetControl) == 20 + 6 * NetControl::kMaxAddresses);
static_assert(std::is_trivially_copyable_v<NetControl> && std::is_standard_layout_v<NetControl>);

// As after a device reset: everything is wanted, for a driver that never says what.
NetControl make_net_control(const net::MacAddress& mac);

// Whether the driver wants a frame that goes to this address; a filter that is as good as the
// tables (§5.1.6.5.1: the driver must cope with packets it did not ask for).
bool net_wants(const NetControl& control, const net::MacAddress& to);

// Carries one command out. `data` is what follows the two bytes of the header. Returns the ack.
u8 net_command(NetControl& control, u8 command_class, u8 command, std::span<const u8> data,
               u16 max_pairs);

// Serves one chain of the control queue: reads it, carries it out, writes the ack; returns how many
// bytes it wrote. An error: there is no room for the ack, the driver broke a rule.
Result<u32> net_control_chain(NetControl& control, const hyperkernel::GuestMemory& memory,
                              const Chain& chain, u16 max_pairs);

}  // namespace dvm::vmm
