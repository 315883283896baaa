#include "tools/bench/locality_command.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fabric/fd.h"
#include "tools/bench/locality_options.h"
#include "tools/bench/locality_report.h"
#include "tools/message.h"

namespace dvm::tools {
namespace {

using locality::PolicyKind;

constexpr u64 kMaxTraceBytes = 128 * kMiB;

Result<locality::Trace> read_trace(const std::string& path) {
  const auto file = Fd::open(path, O_RDONLY | O_NONBLOCK);
  if (!file) return usage_error("--trace: {}", file.error().message);
  struct stat info {};
  if (::fstat(file.value().get(), &info) < 0) return sys_error("fstat " + path);
  const u64 size = static_cast<u64>(info.st_size);
  if (!S_ISREG(info.st_mode) || size > kMaxTraceBytes)
    return usage_error("--trace: {}: allowed: a regular file of at most 128 MiB", path);
  std::vector<std::byte> bytes(size);
  DVM_TRY(file.value().pread_all(bytes, 0, path));
  return locality::decode_trace(bytes, path);
}

Result<LocalityRow> compare(const LocalityOptions& options, const std::string& name,
                            const locality::Trace* trace) {
  DVM_ASSIGN(const auto costs, locality::costs_named(options.costs));
  const bench::SimulatedMachine machine{
      .costs = costs, .region_pages = options.region_pages, .slots = 0};
  LocalityRow row{.workload = name, .runs = {}};
  for (u32 round = 0; round < (trace == nullptr ? options.rounds : 1); ++round) {
    for (u32 p = 0; p < locality::kPolicies; ++p) {
      const auto workload =
          trace != nullptr ? bench::replay(*trace)
                           : bench::make_workload(name, {.nodes = options.nodes,
                                                         .vcpus = options.vcpus,
                                                         .seed = round + 1,
                                                         .length_percent = options.length_percent});
      const auto policy = locality::make_policy(static_cast<PolicyKind>(p));
      row.runs[p].push_back(bench::simulate(*workload, machine, *policy));
    }
  }
  return row;
}

Result<std::vector<LocalityRow>> compare_all(const LocalityOptions& options,
                                             const std::optional<locality::Trace>& trace) {
  std::vector<LocalityRow> rows;
  if (trace) {
    DVM_ASSIGN(auto row, compare(options, "trace", &*trace));
    rows.push_back(std::move(row));
    return rows;
  }
  for (const std::string& name : bench::workload_names()) {
    if (options.workload && *options.workload != name) continue;
    DVM_ASSIGN(auto row, compare(options, name, nullptr));
    rows.push_back(std::move(row));
  }
  return rows;
}

Status write_plot(const std::string& path, const std::string& svg) {
  std::ofstream file(path, std::ios::trunc);
  if (!(file << svg) || !file.flush()) return error("--plot: {}: it cannot be written", path);
  return {};
}

}  // namespace

Status bench_locality(const std::vector<std::string>& words) {
  DVM_ASSIGN(const LocalityOptions options, parse_locality(words));
  if (options.help) return print_text(locality_help());
  std::optional<locality::Trace> trace;
  if (options.trace) {
    DVM_ASSIGN(trace, read_trace(*options.trace));
    if (trace->seen.empty()) return usage_error("--trace: {}: nothing was seen", *options.trace);
    if (trace->nodes < 2) return usage_error("--trace: {}: of a guest on one node", *options.trace);
  }
  DVM_ASSIGN(const auto rows, compare_all(options, trace));
  const std::string shape =
      trace ? fmt::format("{} nodes, {} vCPUs, {} faults recorded, {} lost", trace->nodes,
                          trace->placement.size(), trace->seen.size(), trace->lost)
            : fmt::format("{} nodes, {} vCPUs", options.nodes, options.vcpus);
  DVM_ASSIGN(const auto costs, locality::costs_named(options.costs));
  const std::string note =
      fmt::format("simulated: {}; {}: {}", shape, options.costs, locality::costs_text(costs));
  if (options.plot) DVM_TRY(write_plot(*options.plot, locality_plot(rows, note)));
  if (!options.as_json) return print_text(note + "\n\n" + locality_table(rows));
  BenchReport report = report_here();
  report.results = locality_results(rows);
  return print_text(report_json(report).dump() + "\n");
}

}  // namespace dvm::tools
