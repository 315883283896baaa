#include "tools/bench/bench_report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

namespace dvm::tools {
namespace {

using nlohmann::json;

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const auto at = line.find(": ");
    if (at != std::string::npos) return line.substr(at + 2);
  }
  return "unknown CPU";
}

std::string machine_text() {
  utsname system{};
  ::uname(&system);
  const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  return fmt::format("{}, {} CPU{}, {} {}", cpu_model(), cpus, cpus == 1 ? "" : "s", system.sysname,
                     system.release);
}

template <typename T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json result_json(const BenchResult& result) {
  json object = {{"name", result.name}, {"unit", result.unit}};
  const auto& summary = result.summary;
  object["median"] = summary ? json(summary->median) : json(nullptr);
  object["p5"] = summary ? json(summary->p5) : json(nullptr);
  object["p95"] = summary ? json(summary->p95) : json(nullptr);
  object["n"] = summary ? summary->n : 0;
  object["peer"] = result.peer.empty() ? json(nullptr) : json(result.peer);
  object["peer_median"] = or_null(result.peer_median);
  object["ratio"] = or_null(result.ratio);
  object["goal"] = or_null(result.goal);
  object["holds"] = or_null(result.holds());
  return object;
}

}  // namespace

std::optional<bool> BenchResult::holds() const {
  if (!goal) return std::nullopt;
  if (ratio) return more_is_better ? *ratio >= *goal : *ratio <= *goal;
  // Nothing measured of ours: it does not hold. Nothing of the peer's: that cannot be told.
  if (!summary) return false;
  return std::nullopt;
}

BenchReport report_here() {
  const char* lab = std::getenv("DVM_IN_LAB");
  return {machine_text(), lab != nullptr && std::string_view(lab) == "1" ? "lab" : "native", {}};
}

json report_json(const BenchReport& report) {
  json results = json::array();
  for (const auto& result : report.results) results.push_back(result_json(result));
  return {{"machine", report.machine}, {"where", report.where}, {"results", std::move(results)}};
}

std::string report_text(const BenchReport& report) {
  std::string text = fmt::format("{} ({})\n\n", report.machine, report.where);
  for (const BenchResult& r : report.results) {
    if (!r.summary) continue;
    text += fmt::format("{:<32} {:9.2f} {}  (p5 {:.2f}, p95 {:.2f}, n {})", r.name,
                        r.summary->median, r.unit, r.summary->p5, r.summary->p95, r.summary->n);
    if (r.ratio && r.peer_median)
      text += fmt::format("  {:.2f} x {} ({:.2f})", *r.ratio, r.peer, *r.peer_median);
    if (const auto holds = r.holds())
      text += fmt::format("  goal {:.2f} {}", *r.goal, *holds ? "holds" : "MISSED");
    text += '\n';
  }
  return text;
}

}  // namespace dvm::tools
