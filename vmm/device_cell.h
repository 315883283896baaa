// A device's state in the pool, so kept that a node may die at any instruction of a step:
//
//   lock ─> copy slots[v%2] to slots[(v+1)%2] ─> step the copy ─> version = v+1 ─> lines, messages
//        ─> unlock ─> kicks
//
// Death before the version's store leaves the old state whole (the half-made copy is never looked
// at); after it, the new one. Whoever takes the lock over from the dead brings the interrupt lines
// in line with the published state; a step's outward actions carry numbers in the state itself.
#pragma once

#include <array>
#include <atomic>
#include <type_traits>

#include "fabric/failpoint.h"
#include "fabric/pool_lock.h"

namespace dvm::vmm {

template <typename T>
struct DeviceCell {
  static_assert(std::is_trivially_copyable_v<T>);
  fabric::PoolLock lock;  // order: device cells, then the IOAPIC's; never two devices at once
  std::atomic<u64> version;
  std::array<T, 2> slots;

  // Under the lock, or when a stale answer does no harm and T is read whole by luck only: prefer
  // step.
  const T& published() const { return slots[version.load(std::memory_order_acquire) % 2]; }

  void reset(const T& state) {
    const u64 v = version.load(std::memory_order_relaxed);
    slots[(v + 1) % 2] = state;
    version.store(v + 1, std::memory_order_release);
  }
};

// Runs `step(T&)` on the inactive copy and publishes it. Caller holds the lock.
template <typename T, typename Step>
auto publish_step(DeviceCell<T>& cell, Step&& step) {
  const u64 v = cell.version.load(std::memory_order_relaxed);
  T& next = cell.slots[(v + 1) % 2];
  next = cell.slots[v % 2];
  if constexpr (std::is_void_v<decltype(step(next))>) {
    step(next);
    fabric::failpoint("device.stepped");
    cell.version.store(v + 1, std::memory_order_release);
    fabric::failpoint("device.published");
  } else {
    auto answer = step(next);
    fabric::failpoint("device.stepped");
    cell.version.store(v + 1, std::memory_order_release);
    fabric::failpoint("device.published");
    return answer;
  }
}

}  // namespace dvm::vmm
