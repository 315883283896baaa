#include <nlohmann/json.hpp>

#include "fabric/result.h"
#include "tools/bench/fabric_bench.h"
#include "tools/json_text.h"

namespace dvm::bench {

std::string rows_as_json(const std::vector<FabricRow>& rows) {
  nlohmann::json results = nlohmann::json::array();
  for (const FabricRow& r : rows) {
    nlohmann::json row = {{"name", r.name}, {"unit", r.unit}, {"median", r.median},
                          {"p5", r.p5},     {"p95", r.p95},   {"n", r.n}};
    if (r.deviation > 0) row["deviation"] = r.deviation;
    if (!r.peer.empty()) {
      row["peer"] = r.peer;
      row["peer_median"] = r.peer_median;
      row["ratio"] = r.ratio;
      row["ratio_upper95"] = r.ratio_upper;
      if (r.peer_deviation > 0) row["peer_deviation"] = r.peer_deviation;
    }
    if (r.goal) {
      row["goal"] = *r.goal;
      row["holds"] = r.holds();
    }
    results.push_back(std::move(row));
  }
  return tools::to_line(results);
}

std::string rows_as_text(const std::vector<FabricRow>& rows) {
  std::string text;
  for (const FabricRow& r : rows) {
    text += fmt::format("{:<36} {:9.1f} {} (sd {:.0f})", r.name, r.median, r.unit, r.deviation);
    if (!r.peer.empty()) {
      text += fmt::format("  {} {:.1f} (sd {:.0f})  ratio {:.3f}, at most {:.3f}", r.peer,
                          r.peer_median, r.peer_deviation, r.ratio, r.ratio_upper);
    }
    if (r.goal) text += fmt::format("  goal {:.2f} {}", *r.goal, r.holds() ? "holds" : "MISSED");
    text += '\n';
  }
  return text;
}

}  // namespace dvm::bench
