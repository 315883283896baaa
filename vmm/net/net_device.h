// One process's hands on the network device: packets out of its queues and into them, whatever
// network is behind it.
//
// Threads: any, all functions; a PacketQueue is its caller's.
#pragma once

#include <functional>

#include "vmm/machine.h"
#include "vmm/net/packet_queue.h"

namespace dvm::vmm {

class NetDevice {
 public:
  static constexpr u32 kBatchPackets = 64;
  static constexpr u32 kFewPackets = 4;
  static constexpr u64 kSettleNs = 1'000'000;
  static constexpr u32 kBatchBytes = 512 * kKiB;  // a packet more may be taken

  // Precondition: `function` is a network device of the machine's.
  NetDevice(Machine& machine, u32 function);

  u32 function() const { return function_; }
  u16 pairs() const { return pairs_; }
  NetQueue kind(u16 queue) const;
  // Carries out the control commands that wait.
  void serve_control(u16 queue, bool again);
  // After a death: what the dead had given back is shown to the driver, again.
  void republish(u16 queue);
  // Tells whoever serves the queues that this one wants something. Rings.
  void tell_server(u16 queue);
  // The queues that were told of since, as bits.
  u32 take_notified() { return record_.notified.exchange(0, std::memory_order_acq_rel); }

  // Takes up to a batch of packets that may go out, calls `each` for every good one under the
  // queue's lock, and gives the chains back. `each` does not block. Returns how many chains were
  // taken; 0: none waits that may go out, and the driver tells of the next one (or `release` is to
  // move on).
  //
  // With `may_put_off`, the driver is not interrupted for the first few packets: the answer that
  // follows most packets interrupts it anyway, and it then looks at both queues. The caller settles
  // it (Machine::settle_transmits) within kSettleNs, unless a vCPU that goes idle does so first.
  // With WhenEmpty::leave the driver is not asked to tell of the next packet: the caller looks
  // again.
  u32 transmit(u16 pair, bool again, const std::function<void(const TxPacket&)>& each,
               bool may_put_off = false, WhenEmpty when_empty = WhenEmpty::ask);
  bool owes_interrupts() const;
  // All that the driver has offered so far may go out (NetRecord::release). The caller has the
  // transmit queues' locks.
  void release_offered();
  // Packets that ever went to the guest.
  u64 received() const { return counters_.in_ops.load(std::memory_order_relaxed); }

  // Puts waiting packets into the receive queues as long as there is room; drops those that the
  // driver does not want or cannot take. True: all have gone.
  bool deliver(net::PacketQueue& packets);
  net::ReceiveOffloads receive_offloads() const;
  // A packet of this flow was sent on `pair`: what answers it is received there.
  void saw_flow(u32 hash, u16 pair) { pair_of_flow_[hash % kFlows] = static_cast<u8>(pair); }
  void dropped(u64 packets = 1);

  // The link as the driver sees it.
  void set_link(bool up);

  NetRecord& record() { return record_; }
  Machine& machine() { return machine_; }

 private:
  static constexpr u32 kFlows = 256;

  NetControl control_of(u32 generation) const;
  u16 pair_for(u32 hash, const NetControl& control) const;
  bool held_back(const QueueState& queue);
  bool put_off(const QueueState& queue, u16 pair, u32 chains);
  u64 number_of_next(const QueueState& queue, u16 pair) const;
  Status fill_queue(QueueState& queue, u16 pair, net::PacketQueue& packets, bool& full);

  Machine& machine_;
  const u32 function_;
  const u16 pairs_;
  NetRecord& record_;
  FunctionCounters& counters_;
  std::array<u8, kFlows> pair_of_flow_{};
};

// The first network device of the machine's, if it has one.
std::optional<u32> find_net_function(const MachineConfig& config);

}  // namespace dvm::vmm
