#include "migration/spread.h"

#include <algorithm>

namespace dvm::migration {

std::vector<PlannedMove> spread(std::span<const u32> placement, u32 node,
                                std::span<const u32> others) {
  std::vector<i64> has(others.size());
  for (std::size_t i = 0; i < others.size(); ++i)
    has[i] = std::count(placement.begin(), placement.end(), others[i]);
  std::vector<PlannedMove> moves;
  for (u32 vcpu = 0; vcpu < placement.size(); ++vcpu) {
    if (placement[vcpu] != node) continue;
    const auto least = std::min_element(has.begin(), has.end());
    ++*least;
    moves.push_back({vcpu, others[static_cast<std::size_t>(least - has.begin())]});
  }
  return moves;
}

}  // namespace dvm::migration
