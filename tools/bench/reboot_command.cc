#include "tools/bench/reboot_command.h"

#include <nlohmann/json.hpp>

#include "tools/bench/bench_words.h"
#include "tools/bench/reboot_projection.h"
#include "tools/bench/reboot_report.h"
#include "tools/json_text.h"
#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

void tell(const std::string& text) { say_line("dvm-bench", text); }

Status print_reboot(const RebootOptions& options, const std::vector<RebootSeries>& all) {
  BenchReport report = report_here();
  const auto projections = reboot_projections(all);
  report.results = reboot_results(all);
  for (auto& projected : projection_results(projections))
    report.results.push_back(std::move(projected));
  if (options.plot) DVM_TRY(write_text(*options.plot, reboot_chart(all, options, report.machine)));
  if (options.json) return print_text(to_line(report_json(report)) + "\n");
  std::string text = fmt::format("{} ({})\n\n{}", report.machine, report.where, reboot_tables(all));
  if (!projections.empty()) text += "\n" + projection_table(projections);
  return print_text(text);
}

}  // namespace

Status bench_reboot(const std::vector<std::string>& words) {
  DVM_ASSIGN(RebootOptions options, parse_reboot_options(words));
  if (options.help) return print_text(reboot_help());
  DVM_TRY(need_kvm("reboot", words));
  DVM_TRY(find_image(options));
  RebootPrograms programs;
  DVM_ASSIGN(programs.dvm_run, sibling_program("dvm-run"));
  DVM_ASSIGN(programs.dvm_ctl, sibling_program("dvm-ctl"));
  RebootBench bench(options, programs, tell);
  DVM_ASSIGN(const auto all, bench.run());
  DVM_TRY(print_reboot(options, all));
  for (const auto& series : all) {
    if (series.failures.size() < series.rounds.size()) return {};
  }
  return error("no machine came back");
}

}  // namespace dvm::tools
