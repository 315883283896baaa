// The network device (virtio 1.2 §5.1): what it offers, and packets out of and into its queues.
// Pure, but for guest memory; who carries packets further is no business of this file's.
//
// A queue is served in the two steps of queue.h. Numbers: the n-th packet that a transmit queue
// handed over is the n-th chain the driver offered there. A chain that is not taken stays with the
// device and the driver leaves it alone, so the queue itself is the place where packets wait: for a
// backend that is full, or for leave to go out.
#pragma once

#include <span>

#include "hyperkernel/guest_memory.h"
#include "vmm/virtio/net_registers.h"
#include "vmm/virtio/pci_transport.h"
#include "vmm/virtio/queue.h"

namespace dvm::vmm {

inline constexpr u16 kMaxNetPairs = 8;
inline constexpr u16 kNetQueueSize = 256;
inline constexpr u16 kNetControlQueueSize = 64;
// An IP packet of the greatest length in an Ethernet frame with a VLAN tag: nobody segments more.
inline constexpr u32 kMaxFrameBytes = 65535 + 18;
inline constexpr u32 kMinFrameBytes = 14;  // an Ethernet header

struct NetSpec {
  net::MacAddress mac{};
  u16 pairs = 1;         // of queues, 1 to kMaxNetPairs
  u16 mtu = 0;           // 68 to 65535, 0: not offered
  bool offloads = true;  // checksums and TCP segmentation, in both directions
  bool ecn = false;      // segmentation of TCP with ECN too
};
VirtioPciState make_virtio_net(const NetSpec& spec);

// Queues (§5.1.2).
constexpr u16 net_rx_queue(u16 pair) { return static_cast<u16>(2 * pair); }
constexpr u16 net_tx_queue(u16 pair) { return static_cast<u16>(2 * pair + 1); }
// Its place depends on whether the driver took kFeatureMultiqueue; kNoQueue without control queue.
inline constexpr u16 kNoQueue = 0xffff;
u16 net_control_queue(u64 driver_features, u16 queue_count);
enum class NetQueue { receive, transmit, control, none };
NetQueue net_queue_kind(u64 driver_features, u16 queue_count, u16 queue);

// The link as the driver sees it; true if that changed (then: virtio_config_changed).
bool net_set_link(VirtioPciState& state, bool up);
// Which address a driver finds that is bound from now on; one that is has read its own.
void net_set_mac(VirtioPciState& state, const net::MacAddress& mac);

// --- transmit (§5.1.6.2) -------------------------------------------------------------------------

// A packet the driver wants to send, still in guest memory: every segment is RAM. The header holds:
// its checksum field lies within the packet, and it asks for nothing that was not negotiated.
struct TxPacket {
  net::Header header;
  u32 bytes;  // of the frame
  u16 count;
  std::array<Segment, kMaxQueueSize> segments;
  std::span<const Segment> frame() const { return {segments.data(), count}; }
};
// False: the chain holds no packet that may go out; it is given back like one that went.
bool net_tx_packet(const hyperkernel::GuestMemory& memory, const Chain& chain, u64 features,
                   TxPacket& packet);
// Copies the frame; to.size() >= packet.bytes. False if guest RAM went away (it cannot).
bool net_copy_frame(const hyperkernel::GuestMemory& memory, const TxPacket& packet,
                    std::span<std::byte> to);

// --- receive (§5.1.6.4) --------------------------------------------------------------------------

enum class RxOutcome {
  delivered,   // pushed, not yet shown to the driver
  no_buffers,  // the driver has been asked to tell of more; the queue is as before
  too_small,   // no number of its buffers holds this packet; the queue is as before
};
// Puts one packet into the queue, over several chains if `features` has kFeatureMergeable.
// `header.num_buffers` is filled in here. An error: the driver broke a rule, the device needs a
// reset. Work is bounded by the queue's size and kMaxFrameBytes.
Result<RxOutcome> net_receive(QueueState& queue, const hyperkernel::GuestMemory& memory,
                              u64 features, net::Header header, std::span<const std::byte> frame);

}  // namespace dvm::vmm
