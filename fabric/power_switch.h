// Stopping another process for certain: SIGKILL through a descriptor that can only be that process.
#pragma once

#include <array>
#include <functional>

#include "fabric/fabric_state.h"
#include "fabric/fd.h"

namespace dvm::fabric {

// Threads: one at a time.
class PowerSwitch {
 public:
  // `power_off_host` stops a whole other host (a management controller, a fencing agent); called
  // again and again until it returns true: confirmed off.
  PowerSwitch(FabricState& fabric, u32 own_host, std::function<bool(u32)> power_off_host)
      : fabric_(fabric), own_host_(own_host), power_off_host_(std::move(power_off_host)) {}

  // Opens the process's descriptor, while it certainly lives. Once per instance; a later `off`
  // works without, if the process still lives then.
  void learn(InstanceId who);
  void forget(u32 id) { processes_[id].fd.reset(); }
  // Stops `who`, if it runs. On another host: stops the host.
  void off(InstanceId who);
  // No registered thread of `who` runs any more, nor will one again.
  bool stopped(InstanceId who);

 private:
  struct Known {
    InstanceId who;
    Fd fd;  // pidfd
  };
  FabricState& fabric_;
  const u32 own_host_;
  const std::function<bool(u32)> power_off_host_;
  std::array<Known, kMaxInstances> processes_;
};

}  // namespace dvm::fabric
