// A process's part in the fabric, from joining to leaving: its heartbeat, a manager (or a stand-by
// for one) and a recovery runner on threads of their own, and its membership in the group of all.
#pragma once

#include <memory>
#include <thread>

#include "fabric/fault_injector.h"
#include "fabric/manager.h"
#include "fabric/recovery.h"

namespace dvm::fabric {

struct ServiceOptions {
  u32 host = 0;  // processes of one host have the same
  Manager::Eagerness eagerness = Manager::Eagerness::stand_by;
  ManagerHooks hooks;
  Policy policy;
  RecoveryTable routines;  // the same in every process
  FaultPlace faults;       // without a board: none are injected here
  FaultHooks fault_hooks;
  // Told in beat(), on its thread, of every change in the group of all.
  std::function<void(const Notification&)> heard;
};

class FabricService {
 public:
  // Joins as `self`; the calling thread is the one that beats and leaves.
  static Result<std::unique_ptr<FabricService>> start(FabricState& fabric, InstanceTable& instances,
                                                      InstanceId self, ServiceOptions options);
  // Leaves in order: leaves the group, gives the role back, retires the instance. What it owned in
  // the pool has been released before, and its other registered threads are gone.
  ~FabricService();
  FabricService(const FabricService&) = delete;
  FabricService& operator=(const FabricService&) = delete;

  // Beats, and reads what has happened in the group. At least every tick_ns().
  void beat();
  u64 tick_ns() const;
  // Something long begins (Peer::allow_ms), or has ended: 0.
  void allow_ms(u32 milliseconds) { peer_->allow_ms(milliseconds); }
  Peer& peer() { return *peer_; }

 private:
  FabricService(FabricState& fabric, InstanceTable& instances, InstanceId self,
                ServiceOptions options);
  void start_injector();

  FabricState& fabric_;
  InstanceTable& instances_;
  const ServiceOptions options_;
  std::unique_ptr<Peer> peer_;
  Membership group_;
  std::unique_ptr<Manager> manager_;
  std::unique_ptr<RecoveryRunner> runner_;
  std::unique_ptr<FaultInjector> injector_;
  std::thread managing_, recovering_, injecting_;
};

}  // namespace dvm::fabric
