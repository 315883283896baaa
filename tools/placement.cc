#include "tools/placement.h"

#include <algorithm>
#include <charconv>

#include "vmm/layout.h"

namespace dvm::tools {

Result<std::vector<u16>> parse_placement(std::string_view text) {
  std::vector<u16> placement;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (placement.size() <= vmm::layout::kMaxVcpus) {
    u16 node = 0;
    const auto [rest, failure] = std::from_chars(at, end, node);
    if (failure != std::errc{} || (rest != end && *rest != ',')) break;
    placement.push_back(node);
    if (rest == end) return placement;
    at = rest + 1;
  }
  return usage_error(
      "found '{}'; allowed: a node number for each vCPU, separated by commas (0,0,1,1)", text);
}

std::vector<u16> balanced_placement(u32 vcpus, u32 nodes) {
  std::vector<u16> placement(vcpus);
  const u32 used = std::min(vcpus, nodes);
  for (u32 v = 0; v < vcpus; ++v) placement[v] = static_cast<u16>(v * used / vcpus);
  return placement;
}

Status check_placement(std::span<const u16> placement, u32 vcpus, u32 nodes) {
  if (placement.size() != vcpus) {
    return usage_error("found '{}', {} in all; allowed: one node for each vCPU, {} in all",
                       format_placement(placement), placement.size(), vcpus);
  }
  for (const u16 node : placement) {
    if (node < nodes) continue;
    return usage_error("found '{}' with node {}; allowed: nodes 0 to {}",
                       format_placement(placement), node, nodes - 1);
  }
  return {};
}

std::string format_placement(std::span<const u16> placement) {
  return fmt::format("{}", fmt::join(placement, ","));
}

}  // namespace dvm::tools
