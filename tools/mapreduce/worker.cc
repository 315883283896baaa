#include "tools/mapreduce/worker.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "fabric/failure_watch.h"
#include "tools/mapreduce/process_exit.h"

namespace dvm::mapreduce {

using namespace fabric;  // NOLINT

namespace {

constexpr u32 kEveryone = FabricState::kEveryone;

// False: the result does not fit its place, which only a mistake in the application makes.
bool do_task(Job& job, InstanceId self, u32 phase, u32 task) {
  failpoint("mapreduce.claimed");
  const JobView view = job.view();
  const auto place = view.place(phase, task);
  const u64 bytes = job.app().run(phase, task, view, place);
  failpoint("mapreduce.computed");
  if (bytes > place.size()) return false;
  if (job.tasks(phase).commit(task, self, static_cast<u32>(bytes)))
    job.record().committed.fetch_add(1, std::memory_order_relaxed);
  failpoint("mapreduce.committed");
  return true;
}

// All tasks of the phase are done: the next one begins. Everyone who sees it may try.
void advance(Job& job, u32 seen) {
  failpoint("mapreduce.seen_done");
  JobRecord& record = job.record();
  if (seen + 1 == job.over()) {
    u64 not_yet = 0;
    record.ended_ns.compare_exchange_strong(not_yet, monotonic_ns());
  }
  u32 expected = seen;
  if (!record.phase.compare_exchange_strong(expected, seen + 1, std::memory_order_acq_rel)) return;
  failpoint("mapreduce.advanced");
  ring(record.moved);
}

// Reads what happened in the group, so that its log may go on.
void hear(Membership& group) {
  std::array<Notification, 16> heard;
  for (;;) {
    const auto result = group.read(heard);
    if (result.overflowed) {
      group.catch_up();
    } else if (result.count == 0) {
      return;
    }
  }
}

}  // namespace

void work(Job& job, InstanceId self, u64 tick_ns, const std::function<void()>& beat) {
  JobRecord& record = job.record();
  for (;;) {
    beat();
    // The bell first: whatever changes after the look at phase and tasks, the wait notices.
    const u32 seen_bell = listen(record.moved);
    const u32 seen = record.phase.load(std::memory_order_acquire);
    if (seen == job.over()) return;
    TaskTable::Claim claim;
    if (seen != JobRecord::kClosed) claim = job.tasks(seen - 1).claim(self, job.instances());
    if (claim.task) {
      if (claim.again) record.begun_again.fetch_add(1, std::memory_order_relaxed);
      if (!do_task(job, self, seen - 1, *claim.task)) ::_exit(kExitMistake);
    } else if (claim.all_done) {
      advance(job, seen);
    } else {
      wait(record.moved, seen_bell, monotonic_ns() + tick_ns);
    }
  }
}

void release_tasks(Job& job, InstanceId dead) {
  u32 released = 0;
  for (u32 phase = 0; phase < job.phases(); ++phase) {
    released += job.tasks(phase).release(dead);
    failpoint("mapreduce.released");
  }
  job.record().released.fetch_add(released, std::memory_order_relaxed);
  ring(job.record().moved);
}

void run_worker_process(Job& job, InstanceId self) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  watch_faults(&job.faults(), self.id);
  {
    auto peer = Peer::join(job.fabric(), self, 0);
    if (!peer.ok()) ::_exit(kExitNoPlace);
    Membership group(job.fabric().groups[kEveryone], self, job.instances());
    if (!group.join({.kind = PolicyKind::restart}).ok()) ::_exit(kExitNoPlace);
    const u64 tick_ns = detector_config(job.fabric(), 0).tick_ns();
    work(job, self, tick_ns, [&] {
      (*peer)->beat();
      hear(group);
    });
    (void)group.leave();
    job.instances().retire(self, InstanceState::gone);
  }
  ::_exit(kExitInOrder);
}

}  // namespace dvm::mapreduce
