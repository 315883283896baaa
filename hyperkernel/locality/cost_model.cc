#include "hyperkernel/locality/cost_model.h"

#include <fmt/format.h>

#include <cmath>

namespace dvm::locality {

Status check_costs(const CostModel& costs) {
  constexpr double kHourNs = 3.6e12;
  const auto good = [](double value) {
    return std::isfinite(value) && value > 0 && value <= kHourNs;
  };
  if (!good(costs.dram_ns) || !good(costs.region_ns) || !good(costs.page_move_ns) ||
      !good(costs.page_share_ns) || !good(costs.vcpu_move_ns) || !good(costs.lines_per_visit))
    return error("costs {}: allowed: above 0, an hour at most", costs_text(costs));
  return {};
}

Result<CostModel> costs_named(const std::string& name) {
  if (name == "pod") return CostModel{};
  if (name == "host") {
    return CostModel{.dram_ns = 100,
                     .region_ns = 100,
                     .page_move_ns = 11'000,
                     .page_share_ns = 20'000,
                     .vcpu_move_ns = 300'000};
  }
  if (name == "lab") {
    return CostModel{.dram_ns = 100,
                     .region_ns = 100,
                     .page_move_ns = 2'500'000,
                     .page_share_ns = 4'000'000,
                     .vcpu_move_ns = 6'000'000};
  }
  return usage_error("costs: found '{}'; allowed: pod, host or lab", name);
}

std::string costs_text(const CostModel& c) {
  return fmt::format(
      "DRAM {:.0f} ns, coherent region {:.0f} ns, page move {:.1f} us, page share {:.1f} us, vCPU "
      "move {:.1f} us",
      c.dram_ns, c.region_ns, c.page_move_ns / 1e3, c.page_share_ns / 1e3, c.vcpu_move_ns / 1e3);
}

}  // namespace dvm::locality
