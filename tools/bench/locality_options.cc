#include "tools/bench/locality_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "tools/command_words.h"
#include "tools/size_text.h"

namespace dvm::tools {
namespace {

Result<u32> number(const std::string& option, const std::string& text, u32 least, u32 most) {
  u32 n = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (failed != std::errc() || end != text.data() + text.size() || n < least || n > most)
    return usage_error("{}: found '{}'; allowed: {} to {}", option, text, least, most);
  return n;
}

Status take_number(const CommandWords& words, const char* option, u32 least, u32 most, u32& to) {
  const auto text = words.value(option);
  if (!text) return {};
  DVM_ASSIGN(to, number(option, *text, least, most));
  return {};
}

Status check(const LocalityOptions& o, const CommandWords& words) {
  if (o.vcpus < o.nodes) {
    return usage_error("--cpus: found {} with {} nodes; allowed: at least one for each", o.vcpus,
                       o.nodes);
  }
  const auto& names = bench::workload_names();
  if (o.workload && std::find(names.begin(), names.end(), *o.workload) == names.end()) {
    return usage_error("--workload: found '{}'; allowed: {}", *o.workload, fmt::join(names, ", "));
  }
  for (const char* option : {"--nodes", "--cpus", "--workload", "--length", "--rounds"}) {
    if (o.trace && words.value(option))
      return usage_error("{}: not allowed with --trace, which says all of it", option);
  }
  return {};
}

}  // namespace

Result<LocalityOptions> parse_locality(const std::vector<std::string>& words) {
  DVM_ASSIGN(const CommandWords found,
             split_command_line(
                 words, {.with_value = {"--nodes", "--cpus", "--costs", "--length", "--rounds",
                                        "--workload", "--trace", "--plot", "--coherent-memory"},
                         .flags = {"--json", "--help"},
                         .repeatable = {}}));
  LocalityOptions o;
  o.help = found.has("--help");
  if (o.help) return o;
  if (!found.rest.empty()) return usage_error("dvm-bench locality: unknown word {}", found.rest[0]);
  o.as_json = found.has("--json");
  DVM_TRY(take_number(found, "--nodes", 2, locality::kMaxNodes, o.nodes));
  DVM_TRY(take_number(found, "--cpus", 2, locality::kMaxVcpus, o.vcpus));
  DVM_TRY(take_number(found, "--length", 1, 1000, o.length_percent));
  DVM_TRY(take_number(found, "--rounds", 1, kMaxRounds, o.rounds));
  o.workload = found.value("--workload");
  o.trace = found.value("--trace");
  o.plot = found.value("--plot");
  if (const auto costs = found.value("--costs")) {
    const auto known = locality::costs_named(*costs);
    if (!known) return usage_error("--{}", known.error().message);
    o.costs = *costs;
  }
  if (const auto size = found.value("--coherent-memory")) {
    const auto bytes = parse_size(*size);
    if (!bytes) return usage_error("--coherent-memory: {}", bytes.error().message);
    o.region_pages = *bytes / kPageBytes;
  }
  DVM_TRY(check(o, found));
  return o;
}

std::string locality_help() {
  return fmt::format(
      R"(usage: dvm-bench locality [--json] [--nodes N] [--cpus M] [--costs pod|host|lab] [OPTION...]
Plays a guest's accesses to memory on a simulated machine, once for each policy of where vCPUs and
pages belong, and compares the time that its vCPUs take. The same input gives the same result
everywhere.
  --nodes N               2 to {} (4)
  --cpus M                vCPUs, one for each node to {} (16)
  --workload NAME         one of {} (all)
  --length PERCENT        of the usual number of accesses, 1 to 1000 (100)
  --rounds N              with different accesses, 1 to {} (3)
  --trace FILE            what `dvm-ctl trace` recorded, instead
  --costs pod|host|lab    a pod with CXL memory, nodes on one host, the emulated lab host (pod)
  --coherent-memory SIZE  room for shared pages (64M)
  --plot FILE             also draws the comparison, as SVG
  --json                  machine-readable, on stdout
)",
      locality::kMaxNodes, locality::kMaxVcpus, fmt::join(bench::workload_names(), ", "),
      kMaxRounds);
}

}  // namespace dvm::tools
