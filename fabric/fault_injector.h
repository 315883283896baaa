// Carries out the faults on the board (fault_board.h). One in each process that runs a manager;
// which one acts is decided by who may: the holder of the manager's role, or, when a fault is aimed
// at that one, the living process with the lowest stable id.
#pragma once

#include <atomic>

#include "fabric/fault_effects.h"

namespace dvm::fabric {

// Death at any instruction: the record names who was at it; when that one is stale another begins
// the same fault again, with the same victim, and looks in the event log whether it was told. So a
// pending fault is neither lost nor doubled.
class FaultInjector {
 public:
  FaultInjector(const FaultPlace& place, FabricState& fabric, InstanceTable& instances, Peer& peer,
                FaultHooks hooks);

  // On a thread of its own, registered as long as it runs. Returns after stop(); an error if the
  // thread cannot be registered.
  Status run();
  void stop();  // any thread

 private:
  u64 look_at(FaultRecord& record, u64 now);  // when to look again
  FaultSight sight_of(const FaultRecord& record, const FaultWord& word, u64 now) const;
  bool target_gone(const FaultRecord& record) const;
  bool chosen_for(const FaultRequest& request) const;
  bool may_act(const FaultRequest& request, u32 id) const;
  void start(FaultRecord& record, FaultWord seen, bool again);
  void finish(FaultRecord& record, FaultStage stage);
  bool told(u32 number) const;
  void tell(EventKind kind, const FaultRecord& record, u64 detail);

  const FaultPlace place_;
  FabricState& fabric_;
  InstanceTable& instances_;
  Peer& peer_;
  const FaultHooks hooks_;
  FaultEffects effects_;
  std::atomic<bool> stopping_{false};
  u32 cut_seen_ = 0;
};

}  // namespace dvm::fabric
