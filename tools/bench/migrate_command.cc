#include "tools/bench/migrate_command.h"

#include <nlohmann/json.hpp>

#include "tools/bench/bench_words.h"
#include "tools/bench/migrate_options.h"
#include "tools/bench/migrate_report.h"
#include "tools/bench/move_machinery.h"
#include "tools/bench/qemu_migration.h"
#include "tools/json_text.h"
#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {
namespace {

Result<std::vector<BenchResult>> measure_guests(const MigrateOptions& options,
                                                const std::vector<std::string>& words) {
  DVM_TRY(need_kvm("migrate", words));
  MigrateOptions o = options;
  DVM_TRY(find_guest_files(o.kernel, o.initrd));
  DVM_ASSIGN(const std::string dvm_run, sibling_program("dvm-run"));
  DVM_ASSIGN(const MoveSamples moves, measure_moves(o, dvm_run));
  Series downtime_us;
  for (u32 i = 0; o.peer_qemu && i < o.runs; ++i) {
    const auto one = qemu_downtime_ms(o);
    if (!one.ok()) say_line("dvm-bench", one.error().message);
    downtime_us.push_back(one.ok() ? std::optional(*one * 1000) : std::nullopt);
  }
  return move_results(moves, downtime_us);
}

}  // namespace

Status bench_migrate(const std::vector<std::string>& words) {
  DVM_ASSIGN(const MigrateOptions options, parse_migrate_options(words));
  if (options.help) return print_text(migrate_help());
  BenchReport report = report_here();
  if (options.machinery) {
    DVM_ASSIGN(report.results, measure_machinery(options.moves));
  } else {
    DVM_ASSIGN(report.results, measure_guests(options, words));
  }
  if (options.json) return print_text(to_line(report_json(report)) + "\n");
  return print_text(report_text(report));
}

}  // namespace dvm::tools
