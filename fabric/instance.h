// Who owns what: every process of a guest has a stable id and a generation, and whatever it owns in
// the pool carries both. An owner whose generation has passed is stale, and anyone can see it.
#pragma once

#include <array>
#include <atomic>

#include "fabric/pool_record.h"
#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::fabric {

inline constexpr u32 kMaxInstances = 64;

struct InstanceId {
  u32 id = 0;
  u32 generation = 0;  // 0: nobody

  constexpr u64 packed() const { return (static_cast<u64>(generation) << 32) | id; }
  static constexpr InstanceId unpack(u64 word) {
    return {static_cast<u32>(word), static_cast<u32>(word >> 32)};
  }
  constexpr bool valid() const { return generation != 0; }
  friend constexpr bool operator==(InstanceId, InstanceId) = default;
};

// active -> suspect -> fenced -> salvaged -> dead, or active -> gone for one that left by itself.
enum class InstanceState : u32 { none, active, suspect, fenced, salvaged, dead, gone };

// One per stable id. Each word is written by one store, so that no half-made record is ever seen;
// `generation` is the one that decides whether an owner is stale.
struct alignas(64) InstanceSlot {
  std::atomic<u32> generation;
  std::atomic<InstanceState> state;
  std::atomic<i32> pid;
};
static_assert(sizeof(InstanceSlot) == 64 && std::atomic<InstanceState>::is_always_lock_free);

struct InstanceTable {
  std::array<InstanceSlot, kMaxInstances> slots;

  // Takes the next generation of `id`. Precondition: its former holder is known to be stopped.
  InstanceId join(u32 id, i32 pid);
  // The instance left by itself, or is confirmed stopped: what it owned is stale from here on.
  void retire(InstanceId instance, InstanceState how);
  bool is_stale(InstanceId instance) const;
  // Whoever has this stable id now does nothing any more.
  bool has_ended(u32 id) const;
};
static_assert(sizeof(InstanceTable) == 64 * kMaxInstances);
inline constexpr u32 kInstancesVersion = 1;
Status check_record(const InstanceTable& table, const RecordPlace& place);

}  // namespace dvm::fabric
