#include "fabric/urgent_thread.h"

#include <sched.h>
#include <sys/resource.h>

namespace dvm::fabric {

void make_urgent() {
  constexpr int kNice = -10;
  sched_param param{};
  param.sched_priority = ::sched_get_priority_min(SCHED_RR);
  if (::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) == 0) return;
  ::setpriority(PRIO_PROCESS, 0, kNice);  // on Linux: of the calling thread
}

}  // namespace dvm::fabric
