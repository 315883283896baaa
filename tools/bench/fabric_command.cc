#include "tools/bench/fabric_command.h"

#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "fabric/awake_processors.h"
#include "tools/bench/bench_report.h"
#include "tools/bench/fabric_bench.h"
#include "tools/bench/fabric_detection.h"
#include "tools/bench/mapreduce_command.h"
#include "tools/json_text.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

using nlohmann::json;

constexpr const char* kHelp =
    "usage: dvm-bench fabric [locks|allocator|detection]... [OPTION...]\n"
    "       dvm-bench fabric mapreduce [OPTION...]   (--help tells more)\n"
    "Measures the fabric's locks beside TATAS, MCS and robust mutexes, its allocator beside "
    "malloc,\n"
    "and how fast a death is detected and announced. Without a name: all three.\n"
    "  --json     machine-readable, on stdout\n"
    "  --few      locks at 1 and 2 contenders only\n"
    "  --low-latency  detection with processors that do not sleep, as dvm-run --low-latency\n"
    "  --pairs N  paired runs for each row (100)\n";

struct FabricOptions {
  bool help = false, as_json = false, few = false, low_latency = false;
  bool locks = false, allocator = false, detection = false;
  u32 pairs = bench::FabricBenchSettings{}.pairs;
};

Result<FabricOptions> parse(const std::vector<std::string>& words) {
  FabricOptions o;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--help") {
      o.help = true;
    } else if (word == "--json") {
      o.as_json = true;
    } else if (word == "--few") {
      o.few = true;
    } else if (word == "--low-latency") {
      o.low_latency = true;
    } else if (word == "locks") {
      o.locks = true;
    } else if (word == "allocator") {
      o.allocator = true;
    } else if (word == "detection") {
      o.detection = true;
    } else if (word == "--pairs" && i + 1 < words.size()) {
      const std::string& n = words[++i];
      const auto [end, failed] = std::from_chars(n.data(), n.data() + n.size(), o.pairs);
      if (failed != std::errc() || end != n.data() + n.size() || o.pairs == 0 || o.pairs > 100'000)
        return usage_error("--pairs {}: 1 to 100000", n);
    } else {
      return usage_error("dvm-bench fabric: unknown word {}", word);
    }
  }
  if (!o.locks && !o.allocator && !o.detection) o.locks = o.allocator = o.detection = true;
  return o;
}

}  // namespace

Status bench_fabric(const std::vector<std::string>& words) {
  if (!words.empty() && words.front() == "mapreduce")
    return bench_mapreduce({words.begin() + 1, words.end()});
  DVM_ASSIGN(const FabricOptions options, parse(words));
  if (options.help) return print_text(kHelp);
  json results = json::array();
  std::string text;
  const auto add = [&](const std::string& rows_json, const std::string& rows_text) {
    for (auto& row : parse_json(rows_json)) results.push_back(std::move(row));
    text += rows_text;
  };
  if (options.detection) {  // before anything makes threads: it forks
    std::optional<fabric::AwakeProcessors> awake;
    if (options.low_latency) {
      DVM_ASSIGN(awake, fabric::AwakeProcessors::ask());
    }
    DVM_ASSIGN(const auto rows, bench::measure_detection({}));
    add(bench::detection_json(rows), bench::detection_text(rows));
  }
  bench::FabricBenchSettings settings;
  settings.pairs = options.pairs;
  if (options.few) settings.contenders = {1, 2};
  for (const auto& [wanted, measure] : {std::pair(options.locks, &bench::measure_locks),
                                        std::pair(options.allocator, &bench::measure_allocator)}) {
    if (!wanted) continue;
    const auto rows = measure(settings);
    add(bench::rows_as_json(rows), bench::rows_as_text(rows));
  }
  const BenchReport here = report_here();
  if (!options.as_json)
    return print_text(fmt::format("{} ({})\n\n{}", here.machine, here.where, text));
  return print_text(
      to_line({{"machine", here.machine}, {"where", here.where}, {"results", results}}) + "\n");
}

}  // namespace dvm::tools
