// How often a transmit queue is looked at while the guest sends and nobody answers: a stream of
// small datagrams. Whoever finds such a queue empty and asks to be notified is notified of the very
// next packet, an exit of the guest's for each; so it sleeps a little instead, and looks again by
// itself. What is answered (a ping, a connection) is never made to wait.
//
// Pure; times in nanoseconds.
#pragma once

#include <algorithm>
#include <utility>

#include "fabric/types.h"

namespace dvm::vmm::net {

class TransmitPace {
 public:
  static constexpr u32 kOneWayLooks = 8;  // that found something, before the first sleep
  static constexpr u64 kStreamGapNs = 2'000'000;
  static constexpr u64 kLeastNs = 50'000;
  static constexpr u64 kMostNs = 1'000'000;
  // Of a queue of 256 packets: more, and the guest may find it full before the next look.
  static constexpr u32 kManyPackets = 64;
  static constexpr u32 kFewPackets = 16;

  // A look at the queues at `now_ns` found `packets`; `received` is the number of packets that ever
  // went to the guest. Returns how long to sleep before the next look; 0: the driver may be asked
  // to notify.
  u64 looked(u32 packets, u64 received, u64 now_ns) {
    const bool slept = std::exchange(sleeps_, false);
    if (received != received_ || now_ns - found_at_ > kStreamGapNs) one_way_ = 0;
    received_ = received;
    if (packets > kManyPackets) sleep_ns_ = std::max(sleep_ns_ / 2, kLeastNs);
    if (slept && packets < kFewPackets) sleep_ns_ = std::min(sleep_ns_ * 2, kMostNs);
    if (packets == 0) {
      if (slept) one_way_ = 0;  // too short a sleep, or the stream's end
      return 0;
    }
    found_at_ = now_ns;
    if (one_way_ < kOneWayLooks) {
      ++one_way_;
      return 0;
    }
    sleeps_ = true;
    return sleep_ns_;
  }

 private:
  u32 one_way_ = 0;
  bool sleeps_ = false;
  u64 received_ = 0;
  u64 found_at_ = 0;
  u64 sleep_ns_ = kLeastNs;
};

}  // namespace dvm::vmm::net
