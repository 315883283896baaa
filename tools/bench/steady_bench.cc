#include "tools/bench/steady_bench.h"

#include <unistd.h>

#include <sstream>

#include "tools/bench/console_run.h"
#include "tools/bench/guest_script.h"

namespace dvm::tools {
namespace {

std::string work_script(u32 seconds) {
  std::string script;
  for (const char* work : kSteadyWorks)
    script += fmt::format("steady_work --work {} --seconds {}\n", work, seconds);
  return script;
}

}  // namespace

std::map<std::string, double> read_steady_lines(const std::string& console) {
  std::map<std::string, double> rates;
  std::istringstream lines(console);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string program, work;
    double rate = 0;
    if (words >> program >> work >> rate && program == "steady_work:" && rate > 0)
      rates[work] = rate;
  }
  return rates;
}

Status add_steady_round(const RecoveryOptions& options, const std::string& protect,
                        const std::string& dvm_run, SteadySamples& samples) {
  std::string console;
  const ConsoleRequest request{
      .words = {dvm_run, "--name", fmt::format("bench-steady-{}", ::getpid()), "--protect", protect,
                "--nodes", "2", "--cpus", "2", "--memory", fmt::to_string(options.memory),
                "--kernel", options.kernel, "--initrd", options.initrd,
                "--append=" + script_append(work_script(options.seconds))},
      .marker = "DVM-USERSPACE",
      .limit_s = options.limit_s,
      .at_marker = {},
      .on_line = [&](std::string_view line) { console.append(line).append("\n"); }};
  const auto run = run_on_console(request);
  const auto rates = run.ok() ? read_steady_lines(console) : std::map<std::string, double>{};
  samples.boot_s.push_back(run.ok() ? run->marker_s : std::nullopt);
  for (std::size_t i = 0; i < kSteadyWorks.size(); ++i) {
    const auto rate = rates.find(kSteadyWorks[i]);
    samples.us_a_unit[i].push_back(rate == rates.end() ? std::nullopt
                                                       : std::optional(1e6 / rate->second));
  }
  if (!run.ok()) return run.error();
  if (rates.size() != kSteadyWorks.size()) return error("--protect {}: {}", protect, run->tail);
  return {};
}

}  // namespace dvm::tools
