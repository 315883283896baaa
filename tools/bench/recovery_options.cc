#include "tools/bench/recovery_options.h"

#include <algorithm>

#include "tools/bench/bench_words.h"
#include "tools/bench/job_plan.h"
#include "tools/run_settings.h"

namespace dvm::tools {
namespace {

constexpr u32 kMaxDeaths = 10'000, kMaxRounds = 1000, kMaxSeconds = 600, kMaxLimitSeconds = 3600;

const OptionNames kNames = {
    .with_value = {"--deaths", "--rounds", "--seconds", "--memory", "--kernel", "--initrd",
                   "--limit", "--plot", "--protect"},
    .flags = {"--json", "--machinery", "--jobs", "--help"},
    .repeatable = {"--job"},
};

constexpr u32 kJobRounds = 3;
constexpr u64 kJobMemory = 256 * kMiB;

Status check_jobs(const CommandWords& found, const RecoveryOptions& o) {
  for (const std::string& name : o.job_names) {
    if (std::ranges::none_of(kJobs, [&](const JobKind& job) { return name == job.name; }))
      return usage_error("--job: found '{}'; allowed: {}", name, job_names());
  }
  if (!o.job_protection.empty() &&
      std::ranges::none_of(kJobProtections,
                           [&](const JobProtection& p) { return o.job_protection == p.name; }))
    return usage_error("--protect: found '{}'; allowed: flush, epoch", o.job_protection);
  if (!o.jobs && !o.job_names.empty())
    return usage_error("--job: found without --jobs; allowed: with it");
  if (!o.jobs && !o.job_protection.empty())
    return usage_error("--protect: found without --jobs; allowed: with it");
  if (o.jobs && o.machinery)
    return usage_error("--jobs: found with --machinery; allowed: one of them");
  for (const char* option : {"--deaths", "--seconds"}) {
    if (o.jobs && found.value(option))
      return usage_error("{}: means nothing with --jobs; allowed: without", option);
  }
  return {};
}

}  // namespace

Result<RecoveryOptions> parse_recovery_options(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found, split_command_line(words, kNames));
  RecoveryOptions o;
  o.help = found.has("--help");
  o.json = found.has("--json");
  o.machinery = found.has("--machinery");
  o.jobs = found.has("--jobs");
  o.job_names = found.list("--job");
  o.job_protection = found.value("--protect").value_or("");
  if (o.help) return o;
  if (!found.rest.empty()) {
    return usage_error("recovery: found '{}', which belongs to no option (--help lists them)",
                       found.rest.front());
  }
  DVM_TRY(check_jobs(found, o));
  if (o.jobs) {
    o.rounds = kJobRounds;
    o.memory = kJobMemory;
  }
  const auto count_to = [](u32 most) {
    return [most](const std::string& text) { return parse_count(text, most); };
  };
  DVM_TRY(take_option(found, "--deaths", o.deaths, count_to(kMaxDeaths)));
  DVM_TRY(take_option(found, "--rounds", o.rounds, count_to(kMaxRounds)));
  DVM_TRY(take_option(found, "--seconds", o.seconds, count_to(kMaxSeconds)));
  DVM_TRY(take_option(found, "--memory", o.memory, parse_memory));
  DVM_TRY(take_option(found, "--limit", o.limit_s, count_to(kMaxLimitSeconds)));
  DVM_TRY(take_option(found, "--kernel", o.kernel, check_path));
  DVM_TRY(take_option(found, "--initrd", o.initrd, check_path));
  DVM_TRY(take_option(found, "--plot", o.plot, check_path));
  if (o.machinery && o.plot)
    return usage_error("--machinery: draws nothing; allowed: without --plot");
  return o;
}

bool RecoveryOptions::wants_protection(const std::string& name) const {
  return job_protection.empty() || job_protection == name;
}

bool RecoveryOptions::wants_job(const std::string& name) const {
  return job_names.empty() || std::ranges::find(job_names, name) != job_names.end();
}

std::string recovery_help() {
  return R"(NAME
  dvm-bench recovery - how long a vCPU stands still when its node dies, what that costs a job, and what
  being able to costs

SYNOPSIS
  dvm-bench recovery [--deaths N] [--rounds N] [--seconds S] [--memory SIZE] [--kernel FILE]
                     [--initrd FILE] [--limit S] [--plot FILE.svg] [--json]
  dvm-bench recovery --jobs [--job NAME...] [--protect LEVEL] [--rounds N] [--memory SIZE]
                     [--kernel FILE] [--initrd FILE] [--limit S] [--plot FILE.svg] [--json]
  dvm-bench recovery --machinery [--rounds N] [--seconds S] [--json]

DESCRIPTION
  Starts a guest with --protect flush over three nodes, each with a vCPU that computes without end.
  Nodes are killed, stopped (a hang) and told that their power fails (SIGPWR), in turns; each comes back
  before the next one goes. The pause runs from that instant to the vCPU's next instruction, on another
  node, in parts:
    detect     until somebody noticed; of a failing power: until the vCPU was out of the guest
    fence      until the node's last thread had ended
    salvage    until the vCPU's state lay in the pool, and its heir was named
    take-over  until the heir's KVM had it
    resume     until it was about to enter the guest
  The same with --protect epoch, and hosts that are lost: a node and its keeper, killed together. There
  salvage is the way back to the last epoch.
  Then guests that differ in --protect alone take turns over two nodes: boot, compute, rewrite 5 MB, wake
  each other across nodes. The time a unit of each takes is set beside that without protection.
  Where there is no KVM: tools/lab run --timeout 1800 -- build/bin/dvm-bench recovery ...
  With --jobs, a guest of 4 vCPUs over 4 nodes computes a job that checks its results, while 0, 1 or 8
  nodes die, evenly over its time; each is added again, and its vCPU sent home, before the next one dies.
  With --protect flush they are killed, with epoch hosts are lost. Each run is a guest of its own; runs
  that differ in the deaths alone take turns, and each is set beside that without deaths of its round.
  The control: 8 deaths of a fifth node, which runs no vCPU. It tells what ending and starting processes
  costs a machine whose nodes share processors; "less the control" leaves that out. A wrong result or a
  run that failed is told, and the exit code is 1.
  With --machinery, no guest and no KVM: what the handling of an exit costs in user space, protected and
  not, by exits that are made up; and what it costs who rewrites 5 MB, or writes at random in 256 MiB,
  that each 100 ms can be gone back to: pages protected one by one, as epochs do it, all copied.

OPTIONS
  --machinery      As above.
  --jobs           As above.
  --job NAME       With --jobs, any number of times: these alone. wordcount, kmeans, matrix, histogram,
                   blackscholes or dedup.
  --protect LEVEL  With --jobs: flush or epoch alone. Default: both.
  --deaths N       Of each kind. Default: 10.
  --rounds N       Of the guests' work, or of the exits. Default: 5; of the jobs: 3.
  --seconds S      Of each kind of work in a round. Default: 5.
  --memory SIZE    RAM, of each machine. Default: 128M; with --jobs: 256M.
  --kernel FILE    Default: the cloud kernel that tools/guest-files fetched.
  --initrd FILE    Default: the initramfs that tools/guest-files made.
  --limit S        Seconds after which a guest is ended, and counted as failed. Default: 300.
  --plot FILE.svg  Write a chart of the pauses and their parts, or of the jobs' times over those without
                   deaths: medians, and the range from p5 to p95.
  --json           Print JSON.

EXIT CODES
  0 measured (whether the goals hold or not), 1 nothing could be measured, or a job failed, 64 bad command line
)";
}

}  // namespace dvm::tools
