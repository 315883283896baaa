// Packets on their way into the guest that wait for its buffers: bounded, and joined where the
// guest takes what a network card would have joined. TCP segments that follow one another become
// one packet with a segment size (receive offload, virtio 1.2 §5.1.6.4), which costs the guest once
// what each of them would have cost.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "fabric/types.h"
#include "vmm/net/frame.h"

namespace dvm::vmm::net {

struct Packet {
  Header header{};
  std::vector<std::byte> frame;
  u32 hash = 0;  // flow_hash
};

// What the driver takes (its features).
struct ReceiveOffloads {
  bool checksum = false;
  bool tcp4 = false;
  bool tcp6 = false;
  friend bool operator==(const ReceiveOffloads&, const ReceiveOffloads&) = default;
};
ReceiveOffloads receive_offloads(u64 driver_features);

// Threads: one at a time.
class PacketQueue {
 public:
  static constexpr std::size_t kMaxPackets = 1024;
  static constexpr u64 kMaxBytes = 4 * kMiB;

  // `checked`: the frame's checksums are known to be right. False: no room, the packet is dropped.
  bool push(std::span<const std::byte> frame, const ReceiveOffloads& offloads, bool checked);
  // As the network gave it, with its own header.
  bool push(std::span<const std::byte> frame, const Header& header);
  bool empty() const { return packets_.empty(); }
  const Packet& front() const { return packets_.front(); }
  void pop();
  void clear();
  std::size_t size() const { return packets_.size(); }

 private:
  bool join(std::span<const std::byte> frame, const TcpFrame& tcp);
  bool add(std::span<const std::byte> frame, const Header& header);

  std::deque<Packet> packets_;
  u64 bytes_ = 0;
  // Of the last packet, while more may be joined to it: the sequence number to come next.
  bool open_ = false;
  u32 next_sequence_ = 0;
};

}  // namespace dvm::vmm::net
