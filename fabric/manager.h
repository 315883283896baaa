// The fabric manager: one process at a time holds the role, written in the pool; every other
// process that runs a Manager stands by. It is a reliable failure detector: who it announces as
// dead has stopped before.
#pragma once

#include <atomic>
#include <optional>

#include "fabric/failure_watch.h"

namespace dvm::fabric {

// At most one per process. The process beats for itself (Peer::beat); while it holds the role its
// manager's thread beats for the role as well, and a silent manager is powered off by a stand-by.
//
// Death at any instruction: a stand-by is woken by the holder's life word (one of them by the
// kernel, the others look every kStandbyNs), confirms that the holder has stopped, takes the role
// by compare-and-swap, and goes on with every failure at the stage that is written in the pool.
class Manager {
 public:
  static constexpr u64 kStandbyNs = 80'000'000;
  // How long a stand-by leaves a role that nobody ever held to a process made for it.
  static constexpr u64 kFirstHolderNs = 2'000'000'000;
  enum class Eagerness { first, stand_by };

  Manager(FabricState& fabric, InstanceTable& instances, Peer& peer, ManagerHooks hooks,
          Eagerness eagerness);

  // On a thread of its own, which is registered as long as it runs. Returns after stop(), having
  // given the role back; an error if the thread cannot be registered.
  Status run();
  void stop();  // any thread
  bool leads() const;

 private:
  void lead();
  void stand_by();
  void watch_holder(RoleWord role, u32 seen);
  void take(RoleWord from);
  void resign();
  RoleWord role() const;

  FabricState& fabric_;
  InstanceTable& instances_;
  Peer& peer_;
  const ManagerHooks hooks_;
  const Eagerness eagerness_;
  const u64 started_ns_;
  std::atomic<bool> stopping_{false};
  std::optional<FailureWatch> watch_;  // while we lead
  DetectorState holder_;               // of the one member that leads, while we stand by
  PowerSwitch power_;
};

}  // namespace dvm::fabric
