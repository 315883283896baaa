// What the pool holds of the balloon beside its registers and queues: for people only.
#pragma once

#include <array>
#include <atomic>

#include "fabric/doorbell.h"
#include "vmm/virtio/balloon.h"

namespace dvm::vmm {

struct BalloonRecord {
  // Bytes ever: given back to the pool as the balloon grew, and as free pages were reported; taken
  // out of the balloon again; that the pool's file would not take back.
  std::atomic<u64> ballooned;
  std::atomic<u64> reported;
  std::atomic<u64> deflated;
  std::atomic<u64> kept;
  std::array<std::atomic<u64>, kBalloonStats> stats;  // by tag, as the guest last told
  std::atomic<u64> stats_told;                        // times
  fabric::Doorbell changed;                           // rung when stats_told has moved on
};

}  // namespace dvm::vmm
