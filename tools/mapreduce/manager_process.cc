#include "tools/mapreduce/manager_process.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "fabric/fabric_service.h"
#include "tools/mapreduce/process_exit.h"
#include "tools/mapreduce/worker.h"

namespace dvm::mapreduce {

using namespace fabric;  // NOLINT

void run_manager_process(Job& job, InstanceId self, Manager::Eagerness eagerness) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  watch_faults(&job.faults(), self.id);
  JobRecord& record = job.record();
  {
    ServiceOptions options{.eagerness = eagerness};
    options.routines.add("release tasks", [&job](InstanceId dead) { release_tasks(job, dead); });
    auto service = FabricService::start(job.fabric(), job.instances(), self, std::move(options));
    if (!service.ok()) ::_exit(kExitNoPlace);
    for (;;) {
      (*service)->beat();
      const u32 seen = listen(record.closing);
      if (record.closed.load(std::memory_order_acquire) != 0) break;
      wait(record.closing, seen, monotonic_ns() + (*service)->tick_ns());
    }
  }
  ::_exit(kExitInOrder);
}

}  // namespace dvm::mapreduce
