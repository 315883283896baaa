#include "tools/bench/job_bench.h"

#include "tools/bench/job_run.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

void add_run(const JobRun& run, const std::string& what, const Result<JobTimes>& times,
             JobSeries& series, JobFigures& figures) {
  const auto kind = static_cast<std::size_t>(&run.kind - kJobRunKinds.data());
  const bool stands_still = times.ok() && run.kind.deaths > 0 && !run.kind.spare;
  series.seconds[kind].push_back(times.ok() ? std::optional(times->seconds) : std::nullopt);
  series.still_ms[kind].push_back(stands_still ? std::optional(times->still_ms) : std::nullopt);
  if (times.ok()) {
    say_line("dvm-bench",
             fmt::format("{}: {:.2f} s, {:.2f} by the guest's clock; stood still {:.0f} ms", what,
                         times->seconds, times->guest_seconds, times->still_ms));
  } else {
    figures.failures.push_back(fmt::format("{}: {}", what, times.error().message));
    say_line("dvm-bench", figures.failures.back());
  }
}

}  // namespace

JobFigures measure_jobs(const RecoveryOptions& options, const std::string& dvm_run) {
  JobFigures figures;
  for (const JobProtection& protection : kJobProtections) {
    if (!options.wants_protection(protection.name)) continue;
    for (const JobKind& job : kJobs) {
      if (options.wants_job(job.name))
        figures.series.push_back(
            {.job = &job, .protection = &protection, .seconds = {}, .still_ms = {}});
    }
  }
  for (u32 round = 0; round < options.rounds; ++round) {
    for (JobSeries& series : figures.series) {
      for (std::size_t i = 0; i < kJobRunKinds.size(); ++i) {
        const JobRunKind& kind = kJobRunKinds[(round + i) % kJobRunKinds.size()];
        const JobRun run{*series.job, *series.protection, kind};
        const std::string what =
            fmt::format("round {} of {}, {}, {}, {}", round + 1, options.rounds,
                        run.protection.name, run.job.name, kind.name);
        const auto begun = [&] { say_line("dvm-bench", what + " ..."); };
        add_run(run, what, run_job(run, options, dvm_run, begun), series, figures);
      }
    }
  }
  return figures;
}

}  // namespace dvm::tools
