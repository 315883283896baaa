#include "tools/bench/job_run.h"

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "tools/bench/console_run.h"
#include "tools/bench/guest_script.h"
#include "tools/bench/victim.h"

namespace dvm::tools {
namespace {

// What the console has told so far. Threads: any.
class Progress {
 public:
  void add(const JobLine& line) {
    const u64 now = fabric::monotonic_ns();
    const std::lock_guard lock(mutex_);
    if (line.ended) {
      if (last_.ended) return;  // its failure, told once more by the script
      last_ = line;
      end_ns_ = now;
    } else if (!last_.ended) {
      last_ = line;
      if (line.done == 0) start_ns_ = now;
    }
    changed_.notify_all();
  }
  void guest_is_gone() {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    changed_.notify_all();
  }

  // False: it will not come to that any more.
  bool wait_for(u32 repeats) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return gone_ || last_.ended || last_.done >= repeats; });
    return !gone_ && !last_.ended;
  }
  bool wait_for_end() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return gone_ || last_.ended; });
    return last_.ended;
  }
  // What a repeat has taken so far.
  std::chrono::nanoseconds a_repeat() {
    const std::lock_guard lock(mutex_);
    return std::chrono::nanoseconds(
        last_.done == 0 ? 0 : (fabric::monotonic_ns() - start_ns_) / last_.done);
  }
  JobLine last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  u64 start_ns() const { return start_ns_; }
  u64 end_ns() const { return end_ns_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  JobLine last_;
  u64 start_ns_ = 0, end_ns_ = 0;
  bool gone_ = false;
};

// Lets nodes die as the job goes on, and stops the guest after it.
class Conductor {
 public:
  Conductor(const JobRun& run, std::string name, std::string pool, Progress& progress)
      : run_(run), name_(std::move(name)), pool_(std::move(pool)), progress_(progress) {}

  Status conduct() {
    DVM_ASSIGN(Victim victim, Victim::open(name_, pool_));
    const Status died = let_nodes_die(victim);
    if (!died.ok()) {
      (void)victim.stop();  // it may have ended: that is why
      return died;
    }
    if (!progress_.wait_for_end()) return error("the guest ended before its job");
    return victim.stop();
  }
  double still_ms() const { return still_ms_; }

 private:
  Status let_nodes_die(Victim& victim) {
    const u32 deaths = run_.kind.deaths;
    for (u32 i = 0; i < deaths; ++i) {
      const bool goes_on = progress_.wait_for(repeats_before(i, deaths, run_.job.repeats));
      if (goes_on) std::this_thread::sleep_for(progress_.a_repeat() * part_before(i));
      if (!goes_on || progress_.last().ended)
        return error("the job ended after {} of {} deaths", i, deaths);
      DVM_TRY(run_.kind.spare ? victim.replace_spare(kJobVcpus) : lose(victim, i % kJobVcpus));
    }
    return {};
  }
  Status lose(Victim& victim, u32 node) {
    DVM_ASSIGN(const DeathInstants at, victim.lose(node, run_.protection.death));
    still_ms_ += static_cast<double>(at.entered - at.end) / 1e6;
    return victim.come_back(node);
  }

  const JobRun& run_;
  std::string name_, pool_;
  Progress& progress_;
  double still_ms_ = 0;
};

std::vector<std::string> words_of(const JobRun& run, const RecoveryOptions& options,
                                  const std::string& dvm_run, const std::string& name,
                                  const std::string& pool) {
  std::string homes;
  for (u32 i = 0; i < kJobVcpus; ++i) homes += fmt::format("{}{}", i == 0 ? "" : ",", i);
  return {dvm_run,
          "--name",
          name,
          "--pool",
          pool,
          "--protect",
          run.protection.name,
          "--nodes",
          fmt::to_string(kJobVcpus + (run.kind.spare ? 1 : 0)),
          "--cpus",
          fmt::to_string(kJobVcpus),
          "--placement",
          homes,
          "--memory",
          fmt::to_string(options.memory),
          "--kernel",
          options.kernel,
          "--initrd",
          options.initrd,
          "--append=" + script_append(job_script(run.job))};
}

}  // namespace

Result<JobTimes> run_job(const JobRun& run, const RecoveryOptions& options,
                         const std::string& dvm_run, const std::function<void()>& begun) {
  const std::string name = fmt::format("bench-jobs-{}", ::getpid());
  const std::string pool = "/dev/shm/dvm-" + name;
  Progress progress;
  Conductor conductor(run, name, pool, progress);
  Status conducted = error("the job did not begin");
  std::thread thread;  // begun after the guest was forked
  const ConsoleRequest request{.words = words_of(run, options, dvm_run, name, pool),
                               .marker = "job_work: ",
                               .limit_s = options.limit_s,
                               .at_marker =
                                   [&] {
                                     begun();
                                     thread = std::thread([&] { conducted = conductor.conduct(); });
                                   },
                               .on_line =
                                   [&](std::string_view line) {
                                     if (const auto said = read_job_line(line)) progress.add(*said);
                                   }};
  const auto console = run_on_console(request);
  progress.guest_is_gone();
  if (thread.joinable()) thread.join();
  ::unlink(pool.c_str());
  if (!console.ok()) return console.error();
  const JobLine last = progress.last();
  if (last.ended && !last.ok) return error("WRONG RESULT: {}", last.text);
  if (!conducted.ok())
    return error("{}; the console: {}", conducted.error().message, console->tail);
  return JobTimes{static_cast<double>(progress.end_ns() - progress.start_ns()) / 1e9,
                  static_cast<double>(last.elapsed_ns) / 1e9, conductor.still_ms()};
}

}  // namespace dvm::tools
