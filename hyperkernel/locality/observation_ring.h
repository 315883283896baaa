// What a node's pager saw, on its way to whoever decides: a ring in the pool, the newest kSlots.
//
// Written by any thread of the node without waiting; each reader keeps its own place. A slot's
// number is stored last: what its writer died in, or is still in, is not there, and a reader counts
// it as lost.
#pragma once

#include <array>
#include <atomic>
#include <bit>

#include "hyperkernel/locality/observation.h"

namespace dvm::locality {

struct ObservationSlot {
  std::atomic<u64> number;  // of the observation, from 1; 0: none, or on its way
  std::array<std::atomic<u64>, 3> words;
};
static_assert(sizeof(ObservationSlot) == 32);

// All zero is a valid start.
struct ObservationRing {
  static constexpr u64 kSlots = 4096;
  alignas(64) std::atomic<u64> tail;  // observations ever begun
  alignas(64) std::array<ObservationSlot, kSlots> slots;

  void push(const Observation& seen);
  // Calls `each` for what came after `place`, oldest first, and moves `place` on. Returns how many
  // were lost: came faster than they were read, or are damaged.
  template <typename Each>
  u64 read(u64& place, Each&& each) const;
};
static_assert(sizeof(ObservationRing) == 64 + 32 * ObservationRing::kSlots);

// Whether each field is in its range: what is read from the pool may be damaged.
inline bool is_sound(const Observation& o) {
  return o.node < kMaxNodes && (o.from < kMaxNodes || o.from >= kCopies) &&
         (o.vcpu < kMaxVcpus || o.vcpu == kNoVcpu) && static_cast<u32>(o.kind) < kSeenKinds;
}

inline void ObservationRing::push(const Observation& seen) {
  const auto words = std::bit_cast<std::array<u64, 3>>(seen);
  const u64 n = tail.fetch_add(1, std::memory_order_relaxed);
  ObservationSlot& slot = slots[n % kSlots];
  slot.number.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (std::size_t i = 0; i < words.size(); ++i)
    slot.words[i].store(words[i], std::memory_order_relaxed);
  slot.number.store(n + 1, std::memory_order_release);
}

template <typename Each>
u64 ObservationRing::read(u64& place, Each&& each) const {
  const u64 end = tail.load(std::memory_order_acquire);
  u64 lost = 0;
  if (place > end) place = end;  // damaged, or made anew
  if (end - place > kSlots) {
    lost = end - place - kSlots;
    place = end - kSlots;
  }
  for (; place < end; ++place) {
    const ObservationSlot& slot = slots[place % kSlots];
    const u64 number = slot.number.load(std::memory_order_acquire);
    std::array<u64, 3> words;
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = slot.words[i].load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    const auto seen = std::bit_cast<Observation>(words);
    if (number != place + 1 || slot.number.load(std::memory_order_relaxed) != number ||
        !is_sound(seen)) {
      ++lost;
    } else {
      each(seen);
    }
  }
  return lost;
}

}  // namespace dvm::locality
