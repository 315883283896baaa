// Messages that do not arrive, on purpose. Memory of the pool stays shared; what is cut are the
// wake-ups: doorbells (doorbell.h, bell_transport.h) to and from a process. They are late, not
// lost: whoever heals rings every bell, and a woken one looks again.
#pragma once

#include <atomic>

#include "fabric/types.h"

namespace dvm::fabric {

// The bit of a stable id in a cut mask. Processes above 30 share the last.
constexpr u32 partition_bit(u32 id) { return 1u << (id < 31 ? id : 31); }

// Whose messages are cut: `cut` is a set of partition bits in the pool, `self` this process's id.
// Before, and with null: nobody's. The word must outlive its being watched.
void watch_partition(const std::atomic<u32>* cut, u32 self);

namespace detail {
extern std::atomic<const std::atomic<u32>*> cut_word;
extern std::atomic<u32> own_partition_bit;
}  // namespace detail

inline u32 cut_mask() {
  return detail::cut_word.load(std::memory_order_relaxed)->load(std::memory_order_relaxed);
}
inline u32 own_partition_bit() { return detail::own_partition_bit.load(std::memory_order_relaxed); }
// The processes that a message of this one reaches now, as partition bits.
inline u32 reach() {
  const u32 cut = cut_mask();
  if (cut == 0) [[likely]]
    return ~0u;
  const u32 own = own_partition_bit();
  return (cut & own) != 0 ? own : ~cut;
}
inline bool reaches(u32 id) { return (reach() & partition_bit(id)) != 0; }
inline bool self_is_cut() { return (cut_mask() & own_partition_bit()) != 0; }

}  // namespace dvm::fabric
