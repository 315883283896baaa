#include "tools/bench/restore_command.h"

#include <nlohmann/json.hpp>

#include "tools/bench/bench_report.h"
#include "tools/bench/bench_words.h"
#include "tools/bench/restore_bench.h"
#include "tools/bench/restore_guest.h"
#include "tools/json_text.h"
#include "tools/message.h"
#include "tools/run_settings.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

constexpr double kGoalUs = 5000;
constexpr double kGoalBesideQemu = 0.1;
constexpr u32 kMaxRounds = 1000;

const char* const kHelp = R"(NAME
  dvm-bench restore - how long it takes until a guest goes on from a checkpoint

SYNOPSIS
  dvm-bench restore [--memory LIST] [--rounds N] [--peer qemu] [--json]

DESCRIPTION
  Saves a machine with a quarter of its memory in use, and makes others of it, without a guest and
  without KVM: what of the time until the first instruction is our own work, in the launcher (the file
  is opened and checked, a pool made, devices and vCPUs put back) and in the first node (the pool is
  mapped, its memory watched), and how long the first page takes. Beside it, in the same round, what
  whoever reads all pages first cannot do without: to read the file into fresh memory.

  With --peer qemu: guests with a quarter of their memory in use, boot and are saved; how long it takes
  from the start of dvm-run --resume until the guest answers a line that was typed, in turns with QEMU's
  -loadvm; and from the moment that a ghost (dvm-run --ghosts) is told to go on from the file, in turns
  with loadvm at the monitor of a QEMU that waits.

OPTIONS
  --memory LIST    Sizes, separated by commas. Default: 256M,1G,4G.
  --rounds N       Of each. Default: 15.
  --peer qemu      Real guests, on KVM, beside QEMU. Default size: 512M.
  --json           Print JSON.

EXIT CODES
  0 measured (whether the goals hold or not), 1 nothing could be measured, 64 bad command line
)";

struct RestoreOptions {
  bool help = false, json = false, peer_qemu = false;
  std::vector<u64> memory = {256 * kMiB, kGiB, 4 * kGiB};
  u32 rounds = 15;
};

Result<std::vector<u64>> parse_sizes(const std::string& text) {
  std::vector<u64> sizes;
  for (const std::string& part : split_list(text)) {
    DVM_ASSIGN(const u64 bytes, parse_memory(part));
    sizes.push_back(bytes);
  }
  return sizes;
}

Result<RestoreOptions> parse(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found,
             split_command_line(words, {.with_value = {"--memory", "--rounds", "--peer"},
                                        .flags = {"--json", "--help"}}));
  RestoreOptions o;
  o.help = found.has("--help");
  o.json = found.has("--json");
  if (!o.help && !found.rest.empty()) {
    return usage_error("restore: found '{}', which belongs to no option (--help lists them)",
                       found.rest.front());
  }
  DVM_TRY(take_option(found, "--peer", o.peer_qemu, parse_peer));
  if (o.peer_qemu) o.memory = {512 * kMiB};
  DVM_TRY(take_option(found, "--memory", o.memory, parse_sizes));
  DVM_TRY(
      take_option(found, "--rounds", o.rounds, [](auto& t) { return parse_count(t, kMaxRounds); }));
  return o;
}

void add_results(u64 memory, const RestoreSamples& samples, std::vector<BenchResult>& results) {
  const auto add = [&](std::string_view what, const Series& us) -> BenchResult& {
    BenchResult r;
    r.name = fmt::format("restore.{}.{}", format_size(memory), what);
    r.unit = "us";
    r.summary = summarize(present(us));
    return results.emplace_back(std::move(r));
  };
  BenchResult& ours = add("ours", samples.ours_us());
  ours.peer = "limit";
  ours.peer_median = kGoalUs;
  ours.goal = 1;
  if (ours.summary) ours.ratio = ours.summary->median / kGoalUs;
  add("launcher", samples.launcher_us);
  add("node", samples.node_us);
  add("first-page", samples.page_us);
  BenchResult& beside = add("ours.beside-read", samples.ours_us());
  beside.peer = "read-all";
  if (const auto read = summarize(present(samples.read_us))) beside.peer_median = read->median;
  beside.ratio = paired_ratio(samples.ours_us(), samples.read_us);
}

Status run_parts(const RestoreOptions& options, std::vector<BenchResult>& results) {
  for (const u64 memory : options.memory) {
    say_line("dvm-bench", fmt::format("restore: {}", format_size(memory)));
    DVM_ASSIGN(const auto samples, measure_restore(memory, options.rounds));
    add_results(memory, samples, results);
  }
  return {};
}

void add_beside(u64 memory, std::string_view what, const Series& ours, const char* peer,
                const Series& theirs, std::vector<BenchResult>& results) {
  BenchResult r;
  r.name = fmt::format("restore.{}.{}", format_size(memory), what);
  r.unit = "s";
  r.summary = summarize(present(ours));
  r.peer = peer;
  if (const auto qemu = summarize(present(theirs))) r.peer_median = qemu->median;
  r.ratio = paired_ratio(ours, theirs);
  r.goal = kGoalBesideQemu;
  results.push_back(std::move(r));
}

Status run_guests(const RestoreOptions& options, const std::vector<std::string>& words,
                  std::vector<BenchResult>& results) {
  DVM_TRY(need_kvm("restore", words));
  RestoreGuests guests{.rounds = options.rounds, .kernel = {}, .initrd = {}};
  DVM_TRY(find_guest_files(guests.kernel, guests.initrd));
  for (const u64 memory : options.memory) {
    guests.memory = memory;
    DVM_ASSIGN(const auto times, measure_restore_beside_qemu(guests, [&](const auto& line) {
                 say_line("dvm-bench", fmt::format("restore: {}: {}", format_size(memory), line));
               }));
    add_beside(memory, "answer", times.dvm_s, "qemu-loadvm", times.qemu_s, results);
    add_beside(memory, "answer-waiting", times.ghost_s, "qemu-monitor", times.monitor_s, results);
  }
  return {};
}

}  // namespace

Status bench_restore(const std::vector<std::string>& words) {
  DVM_ASSIGN(const RestoreOptions options, parse(words));
  if (options.help) return print_text(kHelp);
  BenchReport report = report_here();
  DVM_TRY(options.peer_qemu ? run_guests(options, words, report.results)
                            : run_parts(options, report.results));
  if (options.json) return print_text(to_line(report_json(report)) + "\n");
  return print_text(report_text(report));
}

}  // namespace dvm::tools
