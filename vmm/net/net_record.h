// What the pool holds of the network device beside its registers and queues, and the bell by which
// whoever serves its queues is told.
#pragma once

#include <array>
#include <atomic>

#include "fabric/doorbell.h"
#include "vmm/device_cell.h"
#include "vmm/virtio/net_control.h"

namespace dvm::vmm {

// FunctionConfig::flags of a network device.
inline constexpr u32 kNetOffloads = 1;
inline constexpr u32 kNetEcn = 2;
inline constexpr u32 kNetTap = 4;  // else: the user network

// Numbers: packet n of a transmit queue is the n-th chain that the driver offered on it since it
// set the queue up, with the set-up's generation above kNumberBits: they only grow. Which packets
// have been taken is told by the queue's own state; `taken` follows it (NetDevice::transmit).
inline constexpr u32 kNumberBits = 40;
inline constexpr u32 kOwed = 0x1'0000;
inline constexpr u64 kReleaseAll = ~u64{0};

struct NetRecord {
  DeviceCell<NetControl> control;  // locked under the control queue's cell
  fabric::Doorbell work;           // rung when `notified` has gained a bit
  std::atomic<u32> notified;       // bit per queue: the driver said something since it was taken
  std::atomic<u64> receiver;       // who reads the tap (fabric/claim.h)
  std::array<std::atomic<u64>, kMaxNetPairs> taken;
  // Packets up to this number, not including it, may go out: an epoch's commit moves it on. The
  // others wait in their queue.
  std::array<std::atomic<u64>, kMaxNetPairs> release;
  // By pair: interrupts for packets sent that were put off (NetDevice::transmit). kOwed | the used
  // index up to which the driver was told; 0: none. Set under the queue's lock. Whoever dies with
  // one in hand leaves nothing to mend: after a death every queue interrupts.
  std::array<std::atomic<u32>, kMaxNetPairs> owed;
  // For people.
  std::atomic<u64> put_off;         // interrupts, of which the driver may have wanted none
  std::atomic<u64> wakeups;         // of the server, by the bell
  std::atomic<u64> socket_wakeups;  // of the server, by its sockets
  std::atomic<u64> waits_for_room;  // times packets waited for the driver's buffers
  std::atomic<u64> refused;         // packets of the driver's that were none
  std::atomic<u64> restarts;        // of the server
};

// All released, nothing taken. For a record of zero bytes.
inline void open_net_record(NetRecord& record) {
  for (auto& release : record.release) release.store(kReleaseAll);
}

}  // namespace dvm::vmm
