// What is to be known of an Ethernet frame: which flow it belongs to, and how its checksum is
// finished. Frames come from the guest or the network: nothing in them is trusted.
#pragma once

#include <optional>
#include <span>

#include "fabric/types.h"
#include "vmm/virtio/net_registers.h"

namespace dvm::vmm::net {

inline constexpr u32 kEthernetBytes = 14;
inline constexpr u32 kTcpChecksumOffset = 16;  // RFC 9293 §3.1

// TCP over IPv4 or IPv6 without options or extension headers, not a fragment, whose lengths hold.
// All offsets from the frame's start.
struct TcpFrame {
  bool v6;
  u8 flags;     // FIN 1, SYN 2, RST 4, PSH 8, ACK 16
  u16 l4;       // the TCP header
  u16 payload;  // behind it
  u32 end;      // of the payload; padding may follow
  u32 sequence;
};
inline constexpr u8 kTcpPush = 8;
inline constexpr u8 kTcpAck = 16;
std::optional<TcpFrame> tcp_frame(std::span<const std::byte> frame);

// The same for both directions of a connection; 0 for what is no TCP or UDP over IP.
u32 flow_hash(std::span<const std::byte> frame);

// RFC 1071: the sum of 16-bit words in network order, folded to 16 bits, not complemented.
u16 ones_sum(std::span<const std::byte> bytes, u32 start = 0);
// The pseudo-header of a TCP frame whose TCP part has `bytes` bytes (RFC 9293 §3.1, RFC 8200 §8.1).
u16 tcp_pseudo_sum(std::span<const std::byte> frame, const TcpFrame& tcp, u32 bytes);

// Does what a header with kHeaderNeedsCsum asks for: the checksum of everything from csum_start on,
// where the field holds the pseudo-header's sum (virtio 1.2 §5.1.6.2). False if the field is not in
// the frame.
bool finish_checksum(std::span<std::byte> frame, const Header& header);

u16 load_be16(std::span<const std::byte> bytes, u32 at);
void store_be16(std::span<std::byte> bytes, u32 at, u16 value);

}  // namespace dvm::vmm::net
