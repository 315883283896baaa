#include "tools/bench/mapreduce_command.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "tools/bench/bench_words.h"
#include "tools/bench/mapreduce_bench.h"
#include "tools/command_words.h"
#include "tools/json_text.h"
#include "tools/mapreduce/apps/app_list.h"
#include "tools/mapreduce/launcher.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

constexpr const char* kHelp =
    "usage: dvm-bench fabric mapreduce [OPTION...]\n"
    "Runs MapReduce applications over a pool with workers that are killed, checks each output\n"
    "against that of a run without, and says how much slower crashes made them.\n"
    "  --app NAME     wordcount, kmeans, matrix-multiply, histogram, black-scholes or dedup;\n"
    "                 several with commas (all)\n"
    "  --workers N    worker processes, 1 to 48; several with commas (16, and one a processor)\n"
    "  --crashes N    workers killed in a run, 0 to 64; several with commas (1,8); runs without\n"
    "                 are always made beside\n"
    "  --runs N       runs of each, in turn (9)\n"
    "  --seed N       of the inputs, and of when and whom crashes hit (1)\n"
    "  --small        inputs of some kilobytes, to try it out\n"
    "  --json         machine-readable, on stdout\n";

constexpr u64 kMostCrashes = 64, kMostRuns = 1000;
constexpr u64 kAnySeed = std::numeric_limits<u64>::max();

const OptionNames kNames = {.with_value = {"--app", "--workers", "--crashes", "--runs", "--seed"},
                            .flags = {"--small", "--json", "--help"}};

Result<u64> number(const std::string& option, const std::string& text, u64 least, u64 most) {
  u64 n = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (failed != std::errc() || end != text.data() + text.size() || n < least || n > most)
    return usage_error("{}: found '{}'; allowed: {} to {}", option, text, least, most);
  return n;
}

Status take_numbers(const CommandWords& words, const std::string& option, u64 least, u64 most,
                    std::vector<u32>& to) {
  const auto text = words.value(option);
  if (!text) return {};
  to.clear();
  for (const std::string& part : split_list(*text)) {
    DVM_ASSIGN(const u64 n, number(option, part, least, most));
    to.push_back(static_cast<u32>(n));
  }
  return {};
}

Result<MapReduceSettings> settings_of(const CommandWords& words) {
  MapReduceSettings s;
  if (!words.rest.empty()) return usage_error("mapreduce: unknown word {}", words.rest.front());
  if (const auto names = words.value("--app")) s.apps = split_list(*names);
  const auto known = mapreduce::app_names();
  for (const std::string& name : s.apps) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      return usage_error("--app: found '{}'; allowed: {}", name, fmt::join(known, ", "));
  }
  DVM_TRY(take_numbers(words, "--workers", 1, mapreduce::RunOptions::kMostWorkers, s.workers));
  DVM_TRY(take_numbers(words, "--crashes", 0, kMostCrashes, s.crashes));
  if (const auto runs = words.value("--runs")) {
    DVM_ASSIGN(const u64 n, number("--runs", *runs, 1, kMostRuns));
    s.runs = static_cast<u32>(n);
  }
  if (const auto seed = words.value("--seed")) {
    DVM_ASSIGN(s.seed, number("--seed", *seed, 0, kAnySeed));
  }
  s.small = words.has("--small");
  return s;
}

}  // namespace

Status bench_mapreduce(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords given, split_command_line(words, kNames));
  if (given.has("--help")) return print_text(kHelp);
  DVM_ASSIGN(const MapReduceSettings settings, settings_of(given));
  DVM_ASSIGN(const auto series, measure_mapreduce(settings));
  BenchReport report = report_here();
  report.results = mapreduce_results(series);
  if (given.has("--json")) return print_text(to_line(report_json(report)) + "\n");
  return print_text(
      fmt::format("{} ({})\n\n{}", report.machine, report.where, mapreduce_text(series)));
}

}  // namespace dvm::tools
