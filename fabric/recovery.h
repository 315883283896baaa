// Recovery of what a dead instance owned: for each failure exactly one living process runs the
// registered routines, one after the other; if it dies in the middle, another goes on.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "fabric/fabric_state.h"

namespace dvm::fabric {

// One step of recovery. `run` must be idempotent (its runner may die in it, or right after it, and
// it is run again by another process) and must not wait for anything but pool locks, which come
// free at the latest when their owner has been fenced.
struct RecoveryRoutine {
  std::string name;
  std::function<void(InstanceId dead)> run;
  bool on_request = false;  // only for members whose policy names this routine
};

// Every process of a guest registers the same routines in the same order, before it runs any.
class RecoveryTable {
 public:
  // Returns the routine's index, which a Policy may name. At most 65535.
  u32 add(std::string name, std::function<void(InstanceId)> run, bool on_request = false);
  // Compares this table with that of the processes before (the first one's is written down). Error:
  // it differs.
  Status agree(FabricState& fabric) const;

  const std::vector<RecoveryRoutine>& routines() const { return routines_; }

 private:
  std::vector<RecoveryRoutine> routines_;
};

// done: this call brought the failure to `dead`. taken: another living instance (or another thread
// of this one) runs it. not_due: nothing to recover there.
enum class RecoveryResult { done, taken, not_due };

// Recovers the failure recorded for stable id `id`, if it is announced and no living instance does.
// Each step: run the routine, then record it done. Death at any instruction: the next runner starts
// at the first step not recorded.
RecoveryResult recover(FabricState& fabric, InstanceTable& instances, const RecoveryTable& table,
                       InstanceId self, u32 id);

// Recovers whatever is due, as it becomes due. Any number of processes may run one.
class RecoveryRunner {
 public:
  RecoveryRunner(FabricState& fabric, InstanceTable& instances, const RecoveryTable& table,
                 Peer& peer)
      : fabric_(fabric), instances_(instances), table_(table), peer_(peer) {}
  // On a thread of its own, which is registered as long. Returns after stop(), or with an error
  // when the thread cannot be registered.
  Status run();
  void stop();  // from any thread

 private:
  FabricState& fabric_;
  InstanceTable& instances_;
  const RecoveryTable& table_;
  Peer& peer_;
  std::atomic<bool> stopping_{false};
};

}  // namespace dvm::fabric
