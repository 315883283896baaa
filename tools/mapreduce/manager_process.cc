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
  ServiceOptions options{.eagerness = eagerness};
  options.routines.add("release tasks", [&job](InstanceId dead) { release_tasks(job, dead); });
  const auto service =
      FabricService::start(job.fabric(), job.instances(), self, std::move(options));
  if (!service.ok()) ::_exit(kExitNoPlace);
  Doorbell never{};
  for (;;) {
    (*service)->beat();
    wait(never, 0, monotonic_ns() + (*service)->tick_ns());
  }
}

}  // namespace dvm::mapreduce
