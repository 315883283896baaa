// Making a fault happen, and undoing one that lasts. Every function may be called again for the
// same fault, by another process, after the first caller died anywhere in it.
#pragma once

#include <functional>
#include <span>

#include "fabric/event_log.h"
#include "fabric/fabric_state.h"
#include "fabric/fault_board.h"

namespace dvm::fabric {

// What the fabric cannot do by itself. Called on the injector's thread; must not block.
struct FaultHooks {
  // Empty: this process has no guest.
  std::function<bool()> panic_guest;  // false: no vCPU runs
  std::function<bool(u64)> bad_page;  // by guest physical address; false: not told
  std::function<void()> healed;       // a partition ended: wake all that may have missed a bell
  // What would outlive a process on its host (by the process's stable id): ends it.
  std::function<void(u32)> kill_survivors;
};

// Where faults are found, told of and done.
struct FaultPlace {
  FaultBoard* board = nullptr;
  HealthTable* health = nullptr;
  EventLog* events = nullptr;
  std::span<std::byte> metadata;  // the pool from its first byte: for corrupt
};

// Threads: one.
class FaultEffects {
 public:
  // How long a process whose lines are to be lost may go on without writing any.
  static constexpr u64 kLostLinesNs = 500'000'000;

  FaultEffects(const FaultPlace& place, FabricState& fabric, InstanceTable& instances,
               InstanceId self, const FaultHooks& hooks)
      : place_(place), fabric_(fabric), instances_(instances), self_(self), hooks_(hooks) {}

  // Precondition: record.victim is pinned, began_ns set.
  FaultFailure begin(const FaultRecord& record);
  // A fault that lasts, while it does. Returns when to call again (CLOCK_MONOTONIC, ns).
  u64 keep_up(const FaultRecord& record, u64 now_ns);
  void end(const FaultRecord& record);
  // When a fault that began then is over; ~0: not by itself.
  static u64 until_ns(const FaultRequest& request, u64 began_ns);

 private:
  u32 index_of(const FaultRecord& record) const;
  bool signal(const FaultRecord& record, int number) const;
  void wake(const FaultRecord& record) const;
  FaultFailure corrupt(const FaultRequest& request) const;
  void tell_health(const FaultRequest& request) const;
  void heal(const FaultRequest& request) const;

  const FaultPlace place_;
  FabricState& fabric_;
  InstanceTable& instances_;
  const InstanceId self_;
  const FaultHooks& hooks_;
  std::array<u32, FaultBoard::kRecords> stopped_{};  // slow: 1 + whether it was last stopped
};

}  // namespace dvm::fabric
