// Keeps this machine's processors from idle states that take long to leave, as long as it lives:
// the kernel's PM QoS (Documentation/power/pm_qos_interface.rst). An idle processor then polls:
// whoever it waits for is heard at once, for the price of its power. Worth most on virtual
// processors, whose idling ends with a hypervisor's wake-up of 20 to 50 us.
#pragma once

#include "fabric/fd.h"

namespace dvm::fabric {

class AwakeProcessors {
 public:
  // Needs write access to /dev/cpu_dma_latency, which mostly is root's.
  static Result<AwakeProcessors> ask();

 private:
  explicit AwakeProcessors(Fd request) : request_(std::move(request)) {}
  Fd request_;  // the kernel drops the request when it is closed, whoever dies
};

}  // namespace dvm::fabric
