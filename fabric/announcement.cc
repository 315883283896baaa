#include "fabric/announcement.h"

#include "fabric/failpoint.h"

namespace dvm::fabric {

bool announce_failure(FabricState& fabric, InstanceTable& instances, InstanceId who,
                      InstanceId self) {
  instances.retire(who, InstanceState::fenced);
  failpoint("manager.retired");
  for (Group& group : fabric.groups) {
    if (is_unused(group)) continue;
    Membership members(group, self, instances);
    if (!members.announce_death(who)) return false;
    failpoint("manager.told_group");
    members.ring_all();  // also for a change whose maker died before it rang
  }
  fabric.failures[who.id].runner.store(0, std::memory_order_release);
  u64 packed = who.packed();
  fabric.peers.records[who.id].instance.compare_exchange_strong(packed, 0);
  failpoint("manager.told_all");
  advance(fabric.failures, who, FailureStage::fenced, FailureStage::announced);
  failpoint("manager.announced");
  ring(fabric.recovery_due);
  return true;
}

}  // namespace dvm::fabric
