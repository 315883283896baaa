#include "tools/bench/device_command.h"

#include <nlohmann/json.hpp>

#include "tools/bench/bench_words.h"
#include "tools/bench/device_report.h"
#include "tools/json_text.h"
#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

void tell(const std::string& text) { say_line("dvm-bench", text); }

Status print_device(const std::string& benchmark, const DeviceOptions& options,
                    const std::vector<JobFigures>& figures) {
  BenchReport report = report_here();
  report.results = device_results(figures);
  if (options.plot) {
    DVM_TRY(write_text(*options.plot, device_chart(benchmark, figures, options, report.machine)));
  }
  if (options.json) return print_text(to_line(report_json(report)) + "\n");
  std::string text =
      fmt::format("{} ({})\n\n{}", report.machine, report.where, device_table(figures));
  if (const std::string reasons = device_reasons_table(figures); !reasons.empty())
    text += "\n" + reasons;
  return print_text(text);
}

Status bench_device(const std::string& benchmark, const std::vector<std::string>& words) {
  DVM_ASSIGN(DeviceOptions options, parse_device_options(benchmark, words));
  if (options.help) return print_text(device_help(benchmark));
  DVM_TRY(need_kvm(benchmark, words));
  DVM_TRY(find_device_files(benchmark, options));
  DVM_ASSIGN(const std::string dvm_run, sibling_program("dvm-run"));
  std::vector<DeviceContender> contenders;
  if (benchmark == "disk") {
    contenders = disk_contenders(options, dvm_run);
  } else {
    DVM_ASSIGN(contenders, net_contenders(options, dvm_run));
  }
  if (!kvm_counts()) tell("exits are not counted: cannot read KVM's counters in debugfs");
  DeviceBench bench(options, std::move(contenders), tell);
  DVM_ASSIGN(const auto samples, bench.run());
  const auto figures = job_figures(benchmark, options.jobs, samples);
  DVM_TRY(print_device(benchmark, options, figures));
  for (const auto& f : figures) {
    if (f.rate.summary) return {};
  }
  return error("no run gave a result");
}

}  // namespace

Status bench_disk(const std::vector<std::string>& words) { return bench_device("disk", words); }
Status bench_net(const std::vector<std::string>& words) { return bench_device("net", words); }

}  // namespace dvm::tools
