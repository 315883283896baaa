#include "tools/bench/boot_command.h"

#include <nlohmann/json.hpp>

#include "tools/bench/bench_words.h"
#include "tools/bench/boot_report.h"
#include "tools/json_text.h"
#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

void tell(const std::string& text) { say_line("dvm-bench", text); }

Status print_boot(const BootOptions& options, const std::vector<BootFigures>& figures) {
  BenchReport report = report_here();
  report.results = boot_results(figures);
  if (options.plot) {
    DVM_TRY(write_text(*options.plot, boot_chart(figures, options, report.machine)));
  }
  if (options.json) return print_text(to_line(report_json(report)) + "\n");
  std::string text =
      fmt::format("{} ({})\n\n{}", report.machine, report.where, boot_table(figures));
  if (const std::string reasons = boot_reasons_table(figures); !reasons.empty()) {
    text += "\n" + reasons;
  }
  return print_text(text);
}

}  // namespace

Status bench_boot(const std::vector<std::string>& words) {
  DVM_ASSIGN(BootOptions options, parse_boot_options(words));
  if (options.help) return print_text(boot_help());
  DVM_TRY(need_kvm("boot", words));
  DVM_TRY(find_guest_files(options));
  DVM_ASSIGN(const std::string dvm_run, sibling_program("dvm-run"));
  if (!kvm_exit_count()) tell("exits are not counted: cannot read KVM's counters in debugfs");
  BootBench bench(options, boot_contenders(options, dvm_run), tell);
  const auto figures = boot_figures(bench.run());
  DVM_TRY(print_boot(options, figures));
  for (const auto& f : figures) {
    if (f.userspace.summary) return {};
  }
  return error("no boot reached user space");
}

}  // namespace dvm::tools
