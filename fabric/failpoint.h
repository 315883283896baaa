// Named points in production code at which a fault can be injected: a node killed, hung or slowed
// exactly there. Off, a point costs one load of a word that nobody writes, and a branch not taken.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <string_view>

#include "fabric/pool_record.h"
#include "fabric/types.h"

namespace dvm::fabric {

// report: only tells (on_fault_fired), and goes on. arming: a slot that is being written.
enum class FaultAction : u32 { none, kill, hang, sleep, report, arming };

// One armed fault, in the pool. `state` is stored last when arming, so a half-written one never
// fires; a hit takes one from `skip` by an atomic step, so over all processes exactly one hit is
// the k-th.
struct ArmedFault {
  std::atomic<FaultAction> state;  // none: free
  std::atomic<u32> skip;           // hits still to let pass
  std::atomic<u32> fired;
  std::atomic<u32> instance;  // only in the process with this stable id; ~0: in any
  u64 milliseconds;           // of sleep
  std::array<char, 36> point;
  u32 request;  // whose trigger it is: 1 + the index of its FaultRecord; 0: nobody's
};
static_assert(sizeof(ArmedFault) == 64);

struct FaultTable {
  static constexpr u32 kFaults = 63;
  std::atomic<u32> armed;  // number of armed faults: the one word a point looks at
  std::array<u32, 15> reserved;
  std::array<ArmedFault, kFaults> faults;
};
static_assert(sizeof(FaultTable) == 64 * 64);
Status check_record(const FaultTable& table, const RecordPlace& place);

// The table that this process's points look at. Before, and in programs without a pool: an empty
// one.
void watch_faults(FaultTable* table, u32 stable_id);
// Called in the process that a fault fires in, before it takes effect (to log it). Signal-safe or
// not, the process may be about to die: keep it short.
void on_fault_fired(std::function<void(const ArmedFault&)> callback);
// False when the table is full or the name too long.
bool arm_fault(FaultTable& table, std::string_view point, FaultAction action, u32 skip,
               u32 instance, u64 milliseconds, u32 request = 0);
// Takes back what was armed for a request and has not fired, or hangs there.
void disarm_faults(FaultTable& table, u32 request);
// Something is armed for that request. A hang is until the process has stopped and gone on, so who
// wakes it knows whether it may stop once more.
bool any_armed(const FaultTable& table, u32 request);

namespace detail {
extern std::atomic<const std::atomic<u32>*> armed_word;
void hit(std::string_view point);
}  // namespace detail

inline void failpoint(std::string_view point) {
  const auto* armed = detail::armed_word.load(std::memory_order_relaxed);
  if (armed->load(std::memory_order_relaxed) != 0) [[unlikely]]
    detail::hit(point);
}

}  // namespace dvm::fabric
