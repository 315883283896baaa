// The fabric's own record in the pool: who is there, who manages, what failed, who is told.
// All zero is a valid start.
#pragma once

#include "fabric/failure_record.h"
#include "fabric/membership.h"
#include "fabric/peer.h"

namespace dvm::fabric {

// The stable id of the process made to be the manager (dvm-fabric); others stand by under their
// own.
inline constexpr u32 kManagerInstance = kMaxInstances - 1;

// Who the fabric manager is. One word, so that a takeover is one compare-and-swap; `epoch` counts
// the takeovers.
struct RoleWord {
  InstanceId holder;  // not valid(): nobody
  u32 epoch = 0;      // modulo 2^24; 0: nobody ever was

  constexpr u64 packed() const {
    return (static_cast<u64>(holder.generation) << 32) |
           (static_cast<u64>(epoch & 0xff'ffff) << 8) | (holder.id & 0xff);
  }
  static constexpr RoleWord unpack(u64 word) {
    return {{static_cast<u32>(word & 0xff), static_cast<u32>(word >> 32)},
            static_cast<u32>((word >> 8) & 0xff'ffff)};
  }
  friend constexpr bool operator==(RoleWord, RoleWord) = default;
};
static_assert(kMaxInstances <= 256);

// `beats` is the manager's heartbeat as manager, apart from its process's.
struct alignas(64) ManagerRole {
  std::atomic<u64> word;  // RoleWord
  std::atomic<u64> beats;
  Doorbell changed;
  u32 reserved;
};

struct FabricState {
  static constexpr u32 kGroups = 8;
  static constexpr u32 kEveryone = 0;  // the group that all members of the guest join

  ManagerRole role;
  std::atomic<u32> deadline_ms;  // of heartbeats; 0: DetectorConfig's default
  std::atomic<u32> routines;  // checksum of the RecoveryTable that all processes share; 0: none yet
  Doorbell recovery_due;      // a failure was announced, or its runner died
  std::array<u32, 13> reserved;
  PeerTable peers;
  FailureTable failures;
  std::array<Group, kGroups> groups;
};
static_assert(sizeof(FabricState) ==
              64 + 64 + (64 + 64 * 384) + 64 * 64 + 8 * (128 + 256 * 40 + 64 * 256));
inline constexpr u32 kMembershipVersion = 2;
Status check_record(const FabricState& fabric, const RecordPlace& place);

}  // namespace dvm::fabric
