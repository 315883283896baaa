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
#include <cstring>
#include <type_traits>

#include "fabric/failpoint.h"
#include "fabric/pool_lock.h"
#include "vmm/operation_log.h"

namespace dvm::vmm {

template <typename T>
struct DeviceCell {
  static_assert(std::is_trivially_copyable_v<T>);
  fabric::PoolLock lock;  // order: device cells, then the IOAPIC's; never two devices at once
  std::atomic<u64> version;
  std::array<T, 2> slots;
  // Which operation of an exit made each state, and what it answered (operation_log.h).
  std::array<u64, 2> operation;
  std::array<u64, 2> answer;

  // Under the lock, or when a stale answer does no harm and T is read whole by luck only: prefer
  // step.
  const T& published() const { return slots[version.load(std::memory_order_acquire) % 2]; }

  // Whole, without the lock, while others step it: a copy that no step can have overtaken. After
  // `kLooks` steps in its way whatever is there, which may be torn.
  T glance() const {
    static constexpr u32 kLooks = 10'000;
    T copy;
    u64 v = version.load(std::memory_order_acquire);
    for (u32 look = 0; look < kLooks; ++look) {
      std::memcpy(static_cast<void*>(&copy), &slots[v % 2], sizeof(T));
      std::atomic_thread_fence(std::memory_order_acquire);
      if (v == version.load(std::memory_order_relaxed)) break;
      v = version.load(std::memory_order_acquire);
    }
    return copy;
  }

  void reset(const T& state) {
    const u64 v = version.load(std::memory_order_relaxed);
    slots[(v + 1) % 2] = state;
    operation[(v + 1) % 2] = 0;
    version.store(v + 1, std::memory_order_release);
  }
};

// Runs `step(T&)` on the inactive copy and publishes it. Caller holds the lock.
template <typename T, typename Step>
auto publish_step(DeviceCell<T>& cell, Step&& step) {
  const u64 v = cell.version.load(std::memory_order_relaxed);
  T& next = cell.slots[(v + 1) % 2];
  next = cell.slots[v % 2];
  cell.operation[(v + 1) % 2] = 0;
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

// What a step gave back, in 8 bytes.
template <typename R>
inline constexpr bool kFitsAnswer = [] {
  if constexpr (std::is_void_v<R>) {
    return true;
  } else {
    return std::is_trivially_copyable_v<R> && sizeof(R) <= sizeof(u64);
  }
}();

template <typename R>
R unpack_answer(u64 word) {
  if constexpr (!std::is_void_v<R>) {
    R answer;
    std::memcpy(&answer, &word, sizeof(R));
    return answer;
  }
}

// publish_step, once for each operation: one that was done before whoever did it died is not done
// again, and gives what it gave then. `done` is set in that case. Caller holds the lock, and has
// settled what its last owner left.
template <typename T, typename Step>
auto publish_operation(DeviceCell<T>& cell, Step&& step, bool& done) {
  using R = decltype(step(cell.slots[0]));
  if constexpr (!kFitsAnswer<R>) {
    return publish_step(cell, step);
  } else {
    const Operation operation;
    if (const auto answer = operation.done()) {
      done = true;
      return unpack_answer<R>(*answer);
    }
    u64 word = 0;
    publish_step(cell, [&](T& next) {
      const u64 slot = (cell.version.load(std::memory_order_relaxed) + 1) % 2;
      if constexpr (std::is_void_v<R>) {
        step(next);
      } else {
        const R answer = step(next);
        std::memcpy(&word, &answer, sizeof(R));
      }
      cell.answer[slot] = word;
      cell.operation[slot] = operation.id();
    });
    operation.count(word);
    fabric::failpoint("device.counted");
    return unpack_answer<R>(word);
  }
}

}  // namespace dvm::vmm
