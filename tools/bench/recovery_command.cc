#include "tools/bench/recovery_command.h"

#include <nlohmann/json.hpp>

#include "tools/bench/bench_words.h"
#include "tools/bench/exit_machinery.h"
#include "tools/bench/job_report.h"
#include "tools/bench/recovery_report.h"
#include "tools/bench/saving_bench.h"
#include "tools/bench/saving_ways.h"
#include "tools/json_text.h"
#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

void append(std::vector<BenchResult>& all, std::vector<BenchResult> more) {
  std::ranges::move(more, std::back_inserter(all));
}

Result<std::vector<BenchResult>> measure_guests(RecoveryOptions o,
                                                const std::vector<std::string>& words) {
  DVM_TRY(need_kvm("recovery", words));
  DVM_TRY(find_guest_files(o.kernel, o.initrd));
  DVM_ASSIGN(const std::string dvm_run, sibling_program("dvm-run"));
  std::vector<BenchResult> results;
  for (const ProtectionLevel& level : kLevels) {
    if (level.survives.empty()) continue;
    DVM_ASSIGN(const DeathFigures deaths, measure_deaths(o, level.name, level.survives, dvm_run));
    append(results, death_results(level, deaths));
  }
  std::array<SteadySamples, kLevels.size()> steady;
  for (u32 round = 0; round < o.rounds; ++round) {
    for (std::size_t l = 0; l < kLevels.size(); ++l) {
      const Status done = add_steady_round(o, kLevels[l].name, dvm_run, steady[l]);
      if (!done.ok()) say_line("dvm-bench", done.error().message);
    }
  }
  append(results, steady_results(steady));
  return results;
}

// What was measured is told, whatever failed beside it.
Status bench_jobs(RecoveryOptions o, const std::vector<std::string>& words) {
  DVM_TRY(need_kvm("recovery", words));
  DVM_TRY(find_guest_files(o.kernel, o.initrd));
  DVM_ASSIGN(const std::string dvm_run, sibling_program("dvm-run"));
  const JobFigures figures = measure_jobs(o, dvm_run);
  BenchReport report = report_here();
  report.results = job_results(figures.series);
  if (o.plot) DVM_TRY(write_text(*o.plot, job_chart(figures.series, report.machine)));
  DVM_TRY(print_text(o.json ? to_line(report_json(report)) + "\n"
                            : fmt::format("{} ({})\n\n{}", report.machine, report.where,
                                          job_text(figures.series))));
  if (figures.failures.empty()) return {};
  return error("{} of the runs failed; the first: {}", figures.failures.size(),
               figures.failures.front());
}

}  // namespace

Status bench_recovery(const std::vector<std::string>& words) {
  DVM_ASSIGN(const RecoveryOptions options, parse_recovery_options(words));
  if (options.help) return print_text(recovery_help());
  if (options.jobs) return bench_jobs(options, words);
  BenchReport report = report_here();
  if (options.machinery) {
    DVM_ASSIGN(report.results, measure_exits(options.rounds));
    say_line("dvm-bench", fmt::format("pages are saved in {} ways: {} s", kSavingWays.size(),
                                      2 * kSavingWays.size() * options.rounds * options.seconds));
    DVM_ASSIGN(auto saving, measure_saving(options.rounds, options.seconds));
    append(report.results, std::move(saving));
  } else {
    DVM_ASSIGN(report.results, measure_guests(options, words));
  }
  if (options.plot)
    DVM_TRY(write_text(*options.plot, recovery_chart(report.results, report.machine)));
  if (options.json) return print_text(to_line(report_json(report)) + "\n");
  return print_text(report_text(report));
}

}  // namespace dvm::tools
