#include "vmm/net/frame.h"

#include <cstring>

namespace dvm::vmm::net {
namespace {

constexpr u16 kTypeIpv4 = 0x0800;
constexpr u16 kTypeIpv6 = 0x86dd;
constexpr u8 kProtocolTcp = 6;
constexpr u8 kProtocolUdp = 17;
constexpr u32 kIpv4Bytes = 20;
constexpr u32 kIpv6Bytes = 40;
constexpr u32 kTcpBytes = 20;

u8 byte_at(std::span<const std::byte> bytes, u32 at) { return static_cast<u8>(bytes[at]); }

// Where addresses and the transport header are.
struct IpFrame {
  bool v6;
  u8 protocol;
  u32 addresses;
  u32 address_bytes;  // of both
  u32 l4;
  u32 end;
};

std::optional<IpFrame> ipv4_frame(std::span<const std::byte> f) {
  constexpr u32 l3 = kEthernetBytes;
  if (f.size() < l3 + kIpv4Bytes || byte_at(f, l3) != 0x45) return std::nullopt;
  const u32 length = load_be16(f, l3 + 2);
  const bool fragment = (load_be16(f, l3 + 6) & 0x3fff) != 0;
  if (fragment || length < kIpv4Bytes || length > f.size() - l3) return std::nullopt;
  return IpFrame{false, byte_at(f, l3 + 9), l3 + 12, 8, l3 + kIpv4Bytes, l3 + length};
}

std::optional<IpFrame> ipv6_frame(std::span<const std::byte> f) {
  constexpr u32 l3 = kEthernetBytes;
  if (f.size() < l3 + kIpv6Bytes || byte_at(f, l3) >> 4 != 6) return std::nullopt;
  const u32 length = load_be16(f, l3 + 4);
  if (length > f.size() - l3 - kIpv6Bytes) return std::nullopt;
  const u32 l4 = l3 + kIpv6Bytes;
  return IpFrame{true, byte_at(f, l3 + 6), l3 + 8, 32, l4, l4 + length};
}

std::optional<IpFrame> ip_frame(std::span<const std::byte> f) {
  if (f.size() < kEthernetBytes) return std::nullopt;
  const u16 type = load_be16(f, 12);
  if (type == kTypeIpv4) return ipv4_frame(f);
  if (type == kTypeIpv6) return ipv6_frame(f);
  return std::nullopt;
}

u16 fold(u64 sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(sum);
}

}  // namespace

u16 load_be16(std::span<const std::byte> bytes, u32 at) {
  return static_cast<u16>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}

void store_be16(std::span<std::byte> bytes, u32 at, u16 value) {
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value);
}

std::optional<TcpFrame> tcp_frame(std::span<const std::byte> f) {
  const auto ip = ip_frame(f);
  if (!ip || ip->protocol != kProtocolTcp || ip->end - ip->l4 < kTcpBytes) return std::nullopt;
  const u32 header = 4u * (byte_at(f, ip->l4 + 12) >> 4);
  if (header < kTcpBytes || header > ip->end - ip->l4) return std::nullopt;
  TcpFrame tcp{};
  tcp.v6 = ip->v6;
  tcp.flags = byte_at(f, ip->l4 + 13);
  tcp.l4 = static_cast<u16>(ip->l4);
  tcp.payload = static_cast<u16>(ip->l4 + header);
  tcp.end = ip->end;
  tcp.sequence = u32{load_be16(f, ip->l4 + 4)} << 16 | load_be16(f, ip->l4 + 6);
  return tcp;
}

u32 flow_hash(std::span<const std::byte> f) {
  const auto ip = ip_frame(f);
  if (!ip || (ip->protocol != kProtocolTcp && ip->protocol != kProtocolUdp)) return 0;
  if (ip->end - ip->l4 < 4) return 0;
  // A sum forgets the order of the two ends.
  u32 sum = ip->protocol;
  for (u32 at = ip->addresses; at < ip->addresses + ip->address_bytes; at += 2)
    sum += load_be16(f, at);
  sum += load_be16(f, ip->l4);
  sum += load_be16(f, ip->l4 + 2);
  return sum * 0x9e37'79b1u | 1;
}

u16 ones_sum(std::span<const std::byte> bytes, u32 start) {
  // Words of the machine's order: the sum comes out byte-swapped, which is put right at the end.
  u64 sum = 0;
  u64 at = 0;
  for (; at + 4 <= bytes.size(); at += 4) {
    u32 word;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    sum += word;
  }
  u32 rest = 0;
  std::memcpy(&rest, bytes.data() + at, bytes.size() - at);
  const u16 folded = fold(sum + rest);
  return fold(u64{start} + static_cast<u16>(folded << 8 | folded >> 8));
}

u16 tcp_pseudo_sum(std::span<const std::byte> frame, const TcpFrame& tcp, u32 bytes) {
  const u32 addresses = tcp.v6 ? 32 : 8;
  return ones_sum(frame.subspan(tcp.l4 - addresses, addresses), fold(u64{bytes} + kProtocolTcp));
}

bool finish_checksum(std::span<std::byte> frame, const Header& header) {
  const u32 field = u32{header.csum_start} + header.csum_offset;
  if (field + sizeof(u16) > frame.size()) return false;
  const u16 sum = static_cast<u16>(~ones_sum(frame.subspan(header.csum_start)));
  store_be16(frame, field, sum != 0 ? sum : 0xffff);  // RFC 768: zero would mean none
  return true;
}

}  // namespace dvm::vmm::net
