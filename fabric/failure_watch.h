// What the fabric manager does while it holds the role: watch every peer, judge (detector.h), power
// off, confirm, retire and announce. Its progress with each failure is in the pool
// (failure_record.h), so another watch, in another process, goes on where this one was stopped.
#pragma once

#include <functional>

#include "fabric/detector.h"
#include "fabric/power_switch.h"

namespace dvm::fabric {

// What the fabric does not know by itself. All run on the manager's thread and must not block.
struct ManagerHooks {
  // No I/O of that instance, whose threads have all stopped, is in flight any more. Asked until
  // true.
  std::function<bool(InstanceId)> drained;
  // See PowerSwitch. Without it nobody on another host is ever fenced.
  std::function<bool(u32 host)> power_off_host;
  // A suspect is not stopped or not drained after DetectorConfig::fence_bound_ns: for people. It is
  // waited for all the same: who is not fenced is never announced.
  std::function<void(InstanceId, FailureCause)> overdue;
};

// Threads: one, registered (peer.h), in the one process that holds the role.
class FailureWatch {
 public:
  FailureWatch(FabricState& fabric, InstanceTable& instances, const Peer& peer,
               const ManagerHooks& hooks);

  // One round: takes in what has happened, and carries out all that follows from it.
  void look();
  // Sleeps until something a round would take in happens, `extra` moves, or the next tick is due.
  void wait(const WordWait& extra);

 private:
  void take_in_peers();
  void take_in(InstanceId who);
  void take_in_lives();
  void take_in_suspect(InstanceId who);
  void tick(u64 now);
  void observe(const Observation& seen);
  void carry_out(const Verdict& verdict);
  void announce_fenced();

  FabricState& fabric_;
  InstanceTable& instances_;
  const Peer& peer_;
  const ManagerHooks& hooks_;
  PowerSwitch power_;
  DetectorState state_;
  u64 next_tick_ns_ = 0;
  u32 peers_seen_ = 0;
  bool pending_ = false;  // something has to be tried again soon
};

// The deadline that the pool asks for. ~0: none.
DetectorConfig detector_config(const FabricState& fabric, u32 own_host);

}  // namespace dvm::fabric
