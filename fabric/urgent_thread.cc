#include "fabric/urgent_thread.h"

#include <sched.h>
#include <sys/resource.h>

namespace dvm::fabric {
namespace {

thread_local bool real_time = false;

bool schedule(int policy) {
  sched_param param{};
  if (policy == SCHED_RR) param.sched_priority = ::sched_get_priority_min(SCHED_RR);
  return ::sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &param) == 0;
}

}  // namespace

UrgentNoMore::UrgentNoMore() {
  if (real_time) schedule(SCHED_OTHER);
}

UrgentNoMore::~UrgentNoMore() {
  if (real_time) schedule(SCHED_RR);
}

void make_urgent() {
  constexpr int kNice = -10;
  real_time = schedule(SCHED_RR);
  if (real_time) return;
  ::setpriority(PRIO_PROCESS, 0, kNice);  // on Linux: of the calling thread
}

}  // namespace dvm::fabric
