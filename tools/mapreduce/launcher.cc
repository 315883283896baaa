#include "tools/mapreduce/launcher.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>

#include "tools/mapreduce/crash_plan.h"
#include "tools/mapreduce/manager_process.h"
#include "tools/mapreduce/process_exit.h"
#include "tools/mapreduce/random.h"
#include "tools/mapreduce/worker.h"

namespace dvm::mapreduce {

using namespace fabric;  // NOLINT

namespace {

constexpr u32 kStandbyId = kManagerInstance - 1, kLauncherId = kManagerInstance - 2;
constexpr u64 kLookNs = 2'000'000;
constexpr u64 kLookSoonNs = 200'000;  // while a dead one's successor is due
constexpr u32 kUnexpectedDeaths = 32;

u64 ns_of(const timeval& t) {
  return static_cast<u64>(t.tv_sec) * 1'000'000'000 + static_cast<u64>(t.tv_usec) * 1000;
}

struct Child {
  pid_t pid = 0;  // 0: none runs
  InstanceId who;
  bool wanted = false;  // it is to run, or its successor
};

class Launcher {
 public:
  Launcher(Job& job, const RunOptions& options)
      : job_(job),
        options_(options),
        moments_(spread_crashes(options.crashes, options.seed)),
        random_(~options.seed),
        self_(job.instances().join(kLauncherId, ::getpid())),
        onlooker_(job.fabric().groups[FabricState::kEveryone], self_, job.instances()) {}
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  Result<RunResult> run();

 private:
  Status start(u32 id);
  Status look_after();
  Status collect(u32 id);
  void stop(u32 id);
  bool may_restart(const Child& child);
  bool all_joined();
  bool no_worker_left() const;
  void kill_due();
  Status go_on_until(const std::function<bool()>& reached);
  Status check_progress();

  Job& job_;
  const RunOptions& options_;
  const std::vector<double> moments_;
  Random random_;
  const InstanceId self_;
  std::unique_ptr<Peer> peer_;
  Membership onlooker_;  // looks at the group, belongs to none
  std::array<Child, kMaxInstances> children_{};
  RunResult result_;
  u32 starts_ = 0;
  bool successor_due_ = false;
  u64 progress_ = 0, progress_ns_ = 0;
};

Launcher::~Launcher() {
  // The managers first, which would take the others' end for failures.
  for (u32 id = kMaxInstances; id-- != 0;) stop(id);
  if (peer_) job_.instances().retire(self_, InstanceState::gone);
}

Status Launcher::start(u32 id) {
  Child& child = children_[id];
  child.who = job_.instances().join(id, 0);
  child.wanted = true;
  const bool manager = id == kManagerInstance || id == kStandbyId;
  const auto eagerness =
      id == kManagerInstance ? Manager::Eagerness::first : Manager::Eagerness::stand_by;
  std::fflush(stdout);  // else a child that flushes as it goes would write it again
  const pid_t pid = ::fork();
  if (pid < 0) return sys_error("fork");
  if (pid == 0) {
    if (manager) run_manager_process(job_, child.who, eagerness);
    run_worker_process(job_, child.who);
  }
  child.pid = pid;
  ++starts_;
  append_event(job_.log(), self_, job_.instances(), EventKind::node_joined,
               {id, static_cast<u64>(pid)});
  return {};
}

void Launcher::stop(u32 id) {
  Child& child = children_[id];
  if (child.pid <= 0) return;
  ::kill(child.pid, SIGKILL);
  rusage used{};
  ::wait4(child.pid, nullptr, 0, &used);
  result_.processor_ns += ns_of(used.ru_utime) + ns_of(used.ru_stime);
  child = {};
}

Status Launcher::collect(u32 id) {
  Child& child = children_[id];
  int status = 0;
  rusage used{};
  if (child.pid <= 0 || ::wait4(child.pid, &status, WNOHANG, &used) != child.pid) return {};
  result_.processor_ns += ns_of(used.ru_utime) + ns_of(used.ru_stime);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  append_event(job_.log(), self_, job_.instances(),
               code == kExitInOrder ? EventKind::node_left : EventKind::node_died,
               {id, static_cast<u64>(child.pid), static_cast<u64>(status)});
  child.pid = 0;
  if (code == kExitMistake)
    return error("{}: a task's result is larger than its phase says", job_.app().name());
  child.wanted = code != kExitInOrder;
  ring(job_.fabric().peers.changed);  // it may have died between joining and telling
  return {};
}

// Its predecessor is buried, or died before the fabric ever knew of it.
bool Launcher::may_restart(const Child& child) {
  const u32 id = child.who.id;
  const bool named = job_.fabric().peers.records[id].instance.load() == child.who.packed();
  const FailureWord failure = fabric::look(job_.fabric().failures[id]);
  if (failure.generation == child.who.generation) return failure.stage == FailureStage::dead;
  if (named) return false;
  job_.instances().retire(child.who, InstanceState::dead);
  return true;
}

Status Launcher::look_after() {
  const bool over = job_.record().phase.load(std::memory_order_acquire) == job_.over();
  successor_due_ = false;
  for (u32 id = 0; id < kMaxInstances; ++id) {
    Child& child = children_[id];
    DVM_TRY(collect(id));
    if (child.pid != 0 || !child.wanted) continue;
    if (over) {
      child.wanted = false;
    } else if (may_restart(child)) {
      ++result_.restarts;
      DVM_TRY(start(id));
    } else {
      successor_due_ = true;
    }
  }
  const u64 allowed = options_.crashes + options_.points.size() + kUnexpectedDeaths;
  if (result_.restarts > allowed)
    return error("{}: processes die without having been killed", job_.app().name());
  return check_progress();
}

Status Launcher::check_progress() {
  const u64 now = monotonic_ns();
  const JobRecord& record = job_.record();
  const u64 seen = record.committed.load() + record.phase.load() + starts_;
  if (seen != progress_ || progress_ns_ == 0) {
    progress_ = seen;
    progress_ns_ = now;
  }
  if (now - progress_ns_ < kGiveUpNs) return {};
  return error("{}: nothing was done for {} s", job_.app().name(), kGiveUpNs / 1'000'000'000);
}

// A worker dies each time the job has come as far as the plan says.
void Launcher::kill_due() {
  const auto done = static_cast<double>(job_.record().committed.load());
  const double part = done / static_cast<double>(job_.layout().tasks);
  while (result_.crashes < moments_.size() && part >= moments_[result_.crashes]) {
    std::vector<u32> running;
    for (u32 id = 0; id < options_.workers; ++id) {
      const InstanceId who = children_[id].who;
      if (children_[id].pid > 0 && job_.fabric().peers.records[id].instance.load() == who.packed())
        running.push_back(id);
    }
    if (running.empty()) return;  // soon: their successors are on the way
    const u32 victim = running[random_.below(static_cast<u32>(running.size()))];
    ::kill(children_[victim].pid, SIGKILL);
    ::waitid(P_PID, static_cast<id_t>(children_[victim].pid), nullptr, WEXITED | WNOWAIT);
    ++result_.crashes;
  }
}

Status Launcher::go_on_until(const std::function<bool()>& reached) {
  for (;;) {
    const u32 seen = onlooker_.listen();
    DVM_TRY(look_after());
    if (reached()) return {};
    onlooker_.wait(seen, monotonic_ns() + (successor_due_ ? kLookSoonNs : kLookNs));
  }
}

bool Launcher::all_joined() {
  const GroupView view = onlooker_.view();
  return std::all_of(children_.begin(), children_.end(), [&](const Child& child) {
    const auto& member = view.members[child.who.id];
    return !child.wanted || (member.who == child.who && member.state == MemberState::joined);
  });
}

bool Launcher::no_worker_left() const {
  return std::none_of(children_.begin(), children_.begin() + options_.workers,
                      [](const Child& child) { return child.pid > 0; });
}

Result<RunResult> Launcher::run() {
  for (const PointToDieAt& point : options_.points) {
    if (!arm_fault(job_.faults(), point.name, FaultAction::kill, point.skip, point.instance, 0))
      return error("the failpoint {} cannot be armed", point.name);
  }
  DVM_ASSIGN(peer_, Peer::join(job_.fabric(), self_, 0));
  peer_->allow_ms(~0u);  // nobody can start its successor, so it is not judged by its silence
  DVM_TRY(start(kManagerInstance));
  DVM_TRY(start(kStandbyId));
  // Before any worker: one that dies with the group's lock is buried by a manager that is a member.
  DVM_TRY(go_on_until([this] { return all_joined(); }));
  for (u32 id = 0; id < options_.workers; ++id) DVM_TRY(start(id));
  DVM_TRY(go_on_until([this] { return all_joined(); }));
  job_.open();
  JobRecord& record = job_.record();
  DVM_TRY(go_on_until([&] {
    kill_due();
    return record.phase.load(std::memory_order_acquire) == job_.over();
  }));
  result_.elapsed_ns = record.ended_ns.load() - record.started_ns.load();
  result_.begun_again = record.begun_again.load();
  // The managers last: a worker may still die with the group's lock, for which others wait.
  DVM_TRY(go_on_until([this] { return no_worker_left(); }));
  for (const u32 id : {kManagerInstance, kStandbyId}) stop(id);
  result_.output = job_.app().output(job_.view());
  return std::move(result_);
}

}  // namespace

Result<RunResult> run_job(Job& job, const RunOptions& options) {
  if (options.workers == 0 || options.workers > RunOptions::kMostWorkers)
    return error("{} workers: 1 to {}", options.workers, RunOptions::kMostWorkers);
  DVM_TRY(job.reset());
  return Launcher(job, options).run();
}

}  // namespace dvm::mapreduce
