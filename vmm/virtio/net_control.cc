#include "vmm/virtio/net_control.h"

#include <algorithm>
#include <cstring>

namespace dvm::vmm {
namespace {

using hyperkernel::GuestMemory;

// Far more than the longest command that is carried out in full.
constexpr u32 kMaxCommandBytes = 4096;

bool on(const NetControl& control, u8 mode) { return control.modes[mode] != 0; }

u8 set_mode(NetControl& control, u8 mode, std::span<const u8> data) {
  if (mode >= control.modes.size() || data.size() != 1 || data[0] > 1) return net::kAckError;
  control.modes[mode] = data[0];
  return net::kAckOk;
}

// One of the two tables of kMacTableSet: how many entries, and the bytes of them.
struct MacTable {
  u32 entries = 0;
  std::span<const u8> bytes;
};

bool take_table(std::span<const u8>& data, MacTable& table) {
  if (data.size() < sizeof(u32)) return false;
  std::memcpy(&table.entries, data.data(), sizeof(u32));
  data = data.subspan(sizeof(u32));
  if (table.entries > data.size() / sizeof(net::MacAddress)) return false;
  table.bytes = data.first(table.entries * sizeof(net::MacAddress));
  data = data.subspan(table.bytes.size());
  return true;
}

u8 set_tables(NetControl& control, std::span<const u8> data) {
  MacTable unicast, multicast;
  if (!take_table(data, unicast) || !take_table(data, multicast) || !data.empty())
    return net::kAckError;
  control.address_count = 0;
  control.overflow = unicast.entries + multicast.entries > NetControl::kMaxAddresses ? 1 : 0;
  if (control.overflow != 0) return net::kAckOk;
  auto* to = reinterpret_cast<u8*>(control.addresses.data());
  to = std::copy(unicast.bytes.begin(), unicast.bytes.end(), to);
  std::copy(multicast.bytes.begin(), multicast.bytes.end(), to);
  control.address_count = static_cast<u8>(unicast.entries + multicast.entries);
  return net::kAckOk;
}

u8 set_address(NetControl& control, std::span<const u8> data) {
  if (data.size() != control.mac.size()) return net::kAckError;
  net::MacAddress mac;
  std::copy(data.begin(), data.end(), mac.begin());
  if (net::is_multicast(mac)) return net::kAckError;
  control.mac = mac;
  return net::kAckOk;
}

u8 set_pairs(NetControl& control, std::span<const u8> data, u16 max_pairs) {
  u16 pairs = 0;
  if (data.size() != sizeof(pairs)) return net::kAckError;
  std::memcpy(&pairs, data.data(), sizeof(pairs));
  if (pairs == 0 || pairs > max_pairs) return net::kAckError;
  control.pairs = pairs;
  return net::kAckOk;
}

// The readable part in one piece; what is longer than any command is cut, and then refused.
Result<std::span<const u8>> gather(const GuestMemory& memory, const Chain& chain,
                                   std::span<u8> into) {
  u64 bytes = 0;
  for (const Segment& s : chain.readable()) {
    const u64 part = std::min<u64>(s.bytes, into.size() - bytes);
    if (part == 0) break;
    DVM_TRY(memory.read(s.gpa, std::as_writable_bytes(into.subspan(bytes, part))));
    bytes += part;
  }
  return std::span<const u8>(into.first(bytes));
}

}  // namespace

NetControl make_net_control(const net::MacAddress& mac) {
  NetControl control{};
  control.mac = mac;
  control.pairs = 1;
  control.modes[net::kRxPromiscuous] = 1;
  return control;
}

bool net_wants(const NetControl& control, const net::MacAddress& to) {
  if (on(control, net::kRxPromiscuous) || control.overflow != 0) return true;
  if (to == net::kBroadcast) return !on(control, net::kRxNoBroadcast);
  const bool multicast = net::is_multicast(to);
  if (on(control, multicast ? net::kRxNoMulticast : net::kRxNoUnicast)) return false;
  if (on(control, multicast ? net::kRxAllMulticast : net::kRxAllUnicast)) return true;
  if (to == control.mac) return true;
  const auto known = std::span(control.addresses)
                         .first(std::min<u32>(control.address_count, NetControl::kMaxAddresses));
  return std::find(known.begin(), known.end(), to) != known.end();
}

u8 net_command(NetControl& control, u8 command_class, u8 command, std::span<const u8> data,
               u16 max_pairs) {
  switch (command_class) {
    case net::kClassRx: return set_mode(control, command, data);
    case net::kClassMac:
      if (command == net::kMacTableSet) return set_tables(control, data);
      if (command == net::kMacAddressSet) return set_address(control, data);
      return net::kAckError;
    case net::kClassMultiqueue:
      return command == net::kPairsSet ? set_pairs(control, data, max_pairs) : net::kAckError;
    default: return net::kAckError;
  }
}

Result<u32> net_control_chain(NetControl& control, const GuestMemory& memory, const Chain& chain,
                              u16 max_pairs) {
  if (chain.writable().empty()) return error("network: a command without room for its answer");
  std::array<u8, kMaxCommandBytes> bytes;
  DVM_ASSIGN(const auto command, gather(memory, chain, bytes));
  const u8 ack = command.size() < 2
                     ? net::kAckError
                     : net_command(control, command[0], command[1], command.subspan(2), max_pairs);
  DVM_TRY(memory.store(chain.writable().front().gpa, ack));
  return 1u;
}

}  // namespace dvm::vmm
