#include "vmm/virtio/net.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "vmm/virtio/device.h"

namespace dvm::vmm {
namespace {

using hyperkernel::GuestMemory;

constexpr u32 kClassEthernet = 0x02'0000;  // PCI: network controller, Ethernet

u64 offered_features(const NetSpec& spec) {
  using namespace net;
  u64 features = kFeatureMac | kFeatureStatus | kFeatureMergeable | kFeatureControlQueue |
                 kFeatureControlRx | kFeatureControlRxExtra | kFeatureControlMac;
  if (spec.pairs > 1) features |= kFeatureMultiqueue;
  if (spec.mtu != 0) features |= kFeatureMtu;
  if (spec.offloads) {
    features |= kFeatureCsum | kFeatureGuestCsum | kFeatureHostTso4 | kFeatureHostTso6 |
                kFeatureGuestTso4 | kFeatureGuestTso6;
    if (spec.ecn) features |= kFeatureHostEcn | kFeatureGuestEcn;
  }
  return features;
}

u64 segmentation_feature(u8 kind) {
  return kind == net::kGsoTcp4   ? net::kFeatureHostTso4
         : kind == net::kGsoTcp6 ? net::kFeatureHostTso6
                                 : 0;
}

// §5.1.6.2: what the driver may ask for. hdr_len is a hint that nobody here follows.
bool header_holds(const net::Header& h, u64 features, u32 bytes) {
  const bool needs_csum = (h.flags & net::kHeaderNeedsCsum) != 0;
  if (needs_csum) {
    if ((features & net::kFeatureCsum) == 0) return false;
    if (u32{h.csum_start} + h.csum_offset + sizeof(u16) > bytes) return false;
  }
  if (h.gso_type == net::kGsoNone) return true;
  const bool ecn = (h.gso_type & net::kGsoEcn) != 0;
  if (ecn && (features & net::kFeatureHostEcn) == 0) return false;
  const u64 feature = segmentation_feature(h.gso_type & static_cast<u8>(~net::kGsoEcn));
  return feature != 0 && (features & feature) != 0 && needs_csum && h.gso_size != 0;
}

// Writes `from` at `offset` of the segments laid end to end, which have room for it.
Status scatter(const GuestMemory& memory, std::span<const Segment> to, u64 offset,
               std::span<const std::byte> from) {
  for (const Segment& s : to) {
    if (from.empty()) break;
    if (offset >= s.bytes) {
      offset -= s.bytes;
      continue;
    }
    const u64 part = std::min<u64>(s.bytes - offset, from.size());
    DVM_TRY(memory.write(s.gpa + offset, from.first(part)));
    from = from.subspan(part);
    offset = 0;
  }
  return {};
}

struct Used {
  u16 head;
  u32 bytes;
};

// The chains that together hold one packet. The first one's place is kept: the header goes there
// last, when the number of chains is known.
class Placement {
 public:
  Placement(QueueState& queue, const GuestMemory& memory, u64 features)
      : queue_(queue),
        memory_(memory),
        mergeable_((features & net::kFeatureMergeable) != 0),
        room_for_(queue.size) {}

  Result<RxOutcome> place(net::Header header, std::span<const std::byte> frame) {
    DVM_ASSIGN(const RxOutcome first, take_first(sizeof(header) + frame.size()));
    if (first != RxOutcome::delivered) return first;
    DVM_TRY(fill(first_, sizeof(header), frame));
    while (!frame.empty()) {
      DVM_ASSIGN(const RxOutcome next, take_next());
      if (next != RxOutcome::delivered) return next;
      DVM_TRY(fill(next_, 0, frame));
    }
    header.num_buffers = count_;
    DVM_TRY(scatter(memory_, first_.writable(), 0,
                    std::as_bytes(std::span<net::Header, 1>(&header, 1))));
    for (u16 i = 0; i < count_; ++i)
      DVM_TRY(queue_push_used(queue_, memory_, used_[i].head, used_[i].bytes));
    return RxOutcome::delivered;
  }

 private:
  Result<RxOutcome> take_first(u64 needed) {
    DVM_ASSIGN(const bool any, queue_pop(queue_, memory_, first_));
    if (!any) return RxOutcome::no_buffers;
    const u64 room = total_bytes(first_.writable());
    if (room < sizeof(net::Header)) return error("network: a buffer without room for the header");
    return mergeable_ || room >= needed ? RxOutcome::delivered : RxOutcome::too_small;
  }
  Result<RxOutcome> take_next() {
    if (count_ == room_for_) return RxOutcome::too_small;
    DVM_ASSIGN(const bool any, queue_pop(queue_, memory_, next_));
    return any ? RxOutcome::delivered : RxOutcome::no_buffers;
  }
  // As much of the frame as the chain takes; what went is cut off it.
  Status fill(const Chain& chain, u32 offset, std::span<const std::byte>& frame) {
    const u64 part = std::min<u64>(total_bytes(chain.writable()) - offset, frame.size());
    DVM_TRY(scatter(memory_, chain.writable(), offset, frame.first(part)));
    frame = frame.subspan(part);
    used_[count_++] = {chain.head, static_cast<u32>(offset + part)};
    return {};
  }

  QueueState& queue_;
  const GuestMemory& memory_;
  const bool mergeable_;
  const u16 room_for_;  // as many chains as the queue has
  u16 count_ = 0;
  Chain first_;
  Chain next_;
  std::array<Used, kMaxQueueSize> used_;
};

}  // namespace

VirtioPciState make_virtio_net(const NetSpec& spec) {
  assert(spec.pairs >= 1 && spec.pairs <= kMaxNetPairs);
  std::array<u16, 2 * kMaxNetPairs + 1> sizes;
  sizes.fill(kNetQueueSize);
  const u16 control = static_cast<u16>(2 * spec.pairs);
  sizes[control] = kNetControlQueueSize;
  const net::Config config{spec.mac, net::kStatusLinkUp, spec.pairs, spec.mtu};
  std::array<u8, sizeof(config)> bytes;
  std::memcpy(bytes.data(), &config, sizeof(config));
  return make_virtio_pci({.id = virtio::DeviceId::net,
                          .class_code = kClassEthernet,
                          .features = offered_features(spec),
                          .queue_sizes = std::span(sizes).first(control + 1u),
                          .config = bytes});
}

u16 net_control_queue(u64 driver_features, u16 queue_count) {
  if ((driver_features & net::kFeatureControlQueue) == 0) return kNoQueue;
  const bool all = (driver_features & net::kFeatureMultiqueue) != 0;
  return all ? static_cast<u16>(queue_count - 1) : 2;
}

NetQueue net_queue_kind(u64 driver_features, u16 queue_count, u16 queue) {
  const bool all = (driver_features & net::kFeatureMultiqueue) != 0;
  const u16 data_queues = all ? static_cast<u16>(queue_count - 1) : 2;
  if (queue == net_control_queue(driver_features, queue_count)) return NetQueue::control;
  if (queue >= data_queues) return NetQueue::none;
  return queue % 2 == 0 ? NetQueue::receive : NetQueue::transmit;
}

bool net_set_link(VirtioPciState& state, bool up) {
  net::Config config;
  std::memcpy(&config, state.device_config.data(), sizeof(config));
  const u16 status = up ? net::kStatusLinkUp : 0;
  if (config.status == status) return false;
  config.status = status;
  std::memcpy(state.device_config.data(), &config, sizeof(config));
  return true;
}

void net_set_mac(VirtioPciState& state, const net::MacAddress& mac) {
  net::Config config;
  std::memcpy(&config, state.device_config.data(), sizeof(config));
  config.mac = mac;
  std::memcpy(state.device_config.data(), &config, sizeof(config));
}

bool net_tx_packet(const GuestMemory& memory, const Chain& chain, u64 features, TxPacket& packet) {
  const u64 sum = total_bytes(chain.readable());
  if (sum < sizeof(net::Header) + kMinFrameBytes || sum > sizeof(net::Header) + kMaxFrameBytes)
    return false;
  packet.bytes = static_cast<u32>(sum - sizeof(net::Header));
  packet.count = 0;
  u32 header_bytes = 0;
  for (Segment s : chain.readable()) {
    const u32 part = std::min<u32>(s.bytes, static_cast<u32>(sizeof(net::Header)) - header_bytes);
    if (part != 0) {
      auto* to = reinterpret_cast<std::byte*>(&packet.header) + header_bytes;
      if (!memory.read(s.gpa, {to, part}).ok()) return false;
      header_bytes += part;
      s.gpa += part;
      s.bytes -= part;
    }
    if (s.bytes != 0) packet.segments[packet.count++] = s;
  }
  return header_holds(packet.header, features, packet.bytes);
}

bool net_copy_frame(const GuestMemory& memory, const TxPacket& packet, std::span<std::byte> to) {
  for (const Segment& s : packet.frame()) {
    if (!memory.read(s.gpa, to.first(s.bytes)).ok()) return false;
    to = to.subspan(s.bytes);
  }
  return true;
}

Result<RxOutcome> net_receive(QueueState& queue, const GuestMemory& memory, u64 features,
                              net::Header header, std::span<const std::byte> frame) {
  if (frame.size() > kMaxFrameBytes) return RxOutcome::too_small;
  const QueueState before = queue;
  auto outcome = Placement(queue, memory, features).place(header, frame);
  if (!outcome.ok() || outcome.value() != RxOutcome::delivered) queue = before;
  return outcome;
}

}  // namespace dvm::vmm
