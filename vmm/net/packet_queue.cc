#include "vmm/net/packet_queue.h"

#include <algorithm>
#include <cstring>

namespace dvm::vmm::net {
namespace {

constexpr u32 kMaxJoinedIp = 65535;  // the IP length field
constexpr u32 kIpv4LengthAt = kEthernetBytes + 2;
constexpr u32 kIpv4ChecksumAt = kEthernetBytes + 10;
constexpr u32 kIpv6LengthAt = kEthernetBytes + 4;

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b, u32 from, u32 to) {
  return std::equal(a.begin() + from, a.begin() + to, b.begin() + from);
}

// Two segments of one connection whose headers say the same but for sequence, push, lengths,
// identification and checksums.
bool same_flow(std::span<const std::byte> a, std::span<const std::byte> b, const TcpFrame& tcp) {
  const bool ip = tcp.v6 ? same_bytes(a, b, kEthernetBytes, kIpv6LengthAt) &&
                               same_bytes(a, b, kIpv6LengthAt + 2, tcp.l4)
                         : same_bytes(a, b, kEthernetBytes, kIpv4LengthAt) &&
                               same_bytes(a, b, kEthernetBytes + 6, kIpv4ChecksumAt) &&
                               same_bytes(a, b, kIpv4ChecksumAt + 2, tcp.l4);
  return ip && same_bytes(a, b, 0, kEthernetBytes) && same_bytes(a, b, tcp.l4, tcp.l4 + 4) &&
         same_bytes(a, b, tcp.l4 + 8, tcp.l4 + 13) &&   // acknowledgement, header length
         same_bytes(a, b, tcp.l4 + 14, tcp.l4 + 16) &&  // window
         same_bytes(a, b, tcp.l4 + 18, tcp.payload);    // urgent pointer, options
}

void set_lengths(std::span<std::byte> frame, const TcpFrame& tcp) {
  const u32 end = static_cast<u32>(frame.size());
  if (tcp.v6) return store_be16(frame, kIpv6LengthAt, static_cast<u16>(end - tcp.l4));
  store_be16(frame, kIpv4LengthAt, static_cast<u16>(end - kEthernetBytes));
  store_be16(frame, kIpv4ChecksumAt, 0);
  const u16 sum = ones_sum(frame.subspan(kEthernetBytes, tcp.l4 - kEthernetBytes));
  store_be16(frame, kIpv4ChecksumAt, static_cast<u16>(~sum));
}

}  // namespace

ReceiveOffloads receive_offloads(u64 features) {
  const bool checksum = (features & kFeatureGuestCsum) != 0;
  return {checksum, checksum && (features & kFeatureGuestTso4) != 0,
          checksum && (features & kFeatureGuestTso6) != 0};
}

bool PacketQueue::push(std::span<const std::byte> frame, const ReceiveOffloads& offloads,
                       bool checked) {
  const auto tcp = tcp_frame(frame);
  const bool may_join = checked && tcp && (tcp->v6 ? offloads.tcp6 : offloads.tcp4) &&
                        (tcp->flags & ~kTcpPush) == kTcpAck && tcp->payload != tcp->end;
  if (may_join) frame = frame.first(tcp->end);  // padding would be taken for data
  if (may_join && join(frame, *tcp)) return true;
  Header header{};
  if (checked && offloads.checksum && flow_hash(frame) != 0) header.flags = kHeaderDataValid;
  if (!add(frame, header)) return false;
  open_ = may_join && (tcp->flags & kTcpPush) == 0;
  if (open_) next_sequence_ = tcp->sequence + (tcp->end - tcp->payload);
  return true;
}

bool PacketQueue::push(std::span<const std::byte> frame, const Header& header) {
  open_ = false;
  return add(frame, header);
}

bool PacketQueue::add(std::span<const std::byte> frame, const Header& header) {
  if (packets_.size() >= kMaxPackets || bytes_ + frame.size() > kMaxBytes) return false;
  packets_.push_back({header, {frame.begin(), frame.end()}, flow_hash(frame)});
  bytes_ += frame.size();
  return true;
}

// All segments but the last have the same size; the last may be shorter, and ends it.
bool PacketQueue::join(std::span<const std::byte> frame, const TcpFrame& tcp) {
  if (!open_ || packets_.empty() || tcp.sequence != next_sequence_) return false;
  Packet& last = packets_.back();
  const auto first = tcp_frame(last.frame);
  const u32 more = tcp.end - tcp.payload;
  if (!first || first->v6 != tcp.v6 || first->payload != tcp.payload) return false;
  const u32 size =
      last.header.gso_type != kGsoNone ? last.header.gso_size : first->end - first->payload;
  if (more > size || last.frame.size() - kEthernetBytes + more > kMaxJoinedIp) return false;
  if (bytes_ + more > kMaxBytes || !same_flow(last.frame, frame, tcp)) return false;

  if (last.header.gso_type == kGsoNone) last.frame.reserve(kEthernetBytes + kMaxJoinedIp);
  last.frame.insert(last.frame.end(), frame.begin() + tcp.payload, frame.end());
  bytes_ += more;
  next_sequence_ += more;
  const std::byte flags = static_cast<std::byte>(tcp.flags);
  last.frame[tcp.l4 + 13] |= flags;
  open_ = more == size && (tcp.flags & kTcpPush) == 0;
  set_lengths(last.frame, tcp);
  last.header = {.flags = kHeaderNeedsCsum,
                 .gso_type = tcp.v6 ? kGsoTcp6 : kGsoTcp4,
                 .hdr_len = tcp.payload,
                 .gso_size = static_cast<u16>(size),
                 .csum_start = tcp.l4,
                 .csum_offset = kTcpChecksumOffset,
                 .num_buffers = 0};
  const u32 l4_bytes = static_cast<u32>(last.frame.size()) - tcp.l4;
  store_be16(last.frame, tcp.l4 + kTcpChecksumOffset, tcp_pseudo_sum(last.frame, tcp, l4_bytes));
  return true;
}

void PacketQueue::pop() {
  bytes_ -= packets_.front().frame.size();
  packets_.pop_front();
  if (packets_.empty()) open_ = false;
}

void PacketQueue::clear() {
  packets_.clear();
  bytes_ = 0;
  open_ = false;
}

}  // namespace dvm::vmm::net
