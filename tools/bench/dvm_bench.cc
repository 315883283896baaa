// dvm-bench: measures this system, beside others.
#include <array>
#include <cstdio>

#include "tools/bench/boot_command.h"
#include "tools/bench/device_command.h"
#include "tools/bench/fabric_command.h"
#include "tools/bench/locality_command.h"
#include "tools/bench/migrate_command.h"
#include "tools/bench/pages_command.h"
#include "tools/bench/reboot_command.h"
#include "tools/bench/recovery_command.h"
#include "tools/bench/restore_command.h"
#include "tools/exit_code.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

struct Benchmark {
  std::string_view name;
  Status (*run)(const std::vector<std::string>& words);
};

constexpr std::array<Benchmark, 10> kBenchmarks = {{
    {"boot", bench_boot},
    {"disk", bench_disk},
    {"fabric", bench_fabric},
    {"locality", bench_locality},
    {"migrate", bench_migrate},
    {"net", bench_net},
    {"pages", bench_pages},
    {"reboot", bench_reboot},
    {"recovery", bench_recovery},
    {"restore", bench_restore},
}};

std::string usage() {
  std::string names;
  for (const auto& benchmark : kBenchmarks) {
    names += fmt::format("{}{}", names.empty() ? "" : "|", benchmark.name);
  }
  return fmt::format("usage: dvm-bench {} [OPTION...]; dvm-bench NAME --help tells more", names);
}

Status run(const std::vector<std::string>& words) {
  const std::string what = words.empty() ? "" : words.front();
  for (const auto& benchmark : kBenchmarks) {
    if (benchmark.name == what) return benchmark.run({words.begin() + 1, words.end()});
  }
  if (what == "--help") {
    std::puts(usage().c_str());
    return {};
  }
  if (what == "--version") {
    std::puts("dvm-bench " DVM_VERSION);
    return {};
  }
  return usage_error("{}", usage());
}

}  // namespace
}  // namespace dvm::tools

int main(int argc, char** argv) {
  using dvm::tools::say_line;
  try {
    const auto status = dvm::tools::run({argv + 1, argv + argc});
    if (status.ok()) return dvm::tools::kExitOk;
    say_line("dvm-bench", status.error().message);
    return dvm::tools::exit_code_of(status.error());
  } catch (const std::exception& e) {
    say_line("dvm-bench", e.what());
    return dvm::tools::kExitError;
  }
}
