#include "hyperkernel/locality/policy.h"

#include <algorithm>
#include <array>

#include "hyperkernel/locality/affinity_policy.h"
#include "hyperkernel/locality/learned_policy.h"

namespace dvm::locality {
namespace {

constexpr std::array<std::string_view, kPolicies> kNames = {"static", "affinity", "learned"};

}  // namespace

std::string_view policy_name(PolicyKind kind) {
  const auto i = static_cast<std::size_t>(kind);
  return i < kNames.size() ? kNames[i] : "unknown";
}

Result<PolicyKind> parse_policy(std::string_view text) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == text) return static_cast<PolicyKind>(i);
  }
  return usage_error("found '{}'; allowed: static, affinity or learned", text);
}

u32 Placement::load(u32 node) const {
  return static_cast<u32>(std::count(node_of.begin(), node_of.end(), static_cast<u8>(node)));
}

bool Policy::share_now(const Observation&, double spent_ns, const CostModel& costs) {
  return spent_ns >= costs.page_share_ns;
}

std::unique_ptr<Policy> make_policy(PolicyKind kind) {
  switch (kind) {
    case PolicyKind::affinity: return std::make_unique<AffinityPolicy>();
    case PolicyKind::learned: return std::make_unique<LearnedPolicy>();
    case PolicyKind::fixed: break;
  }
  return std::make_unique<Policy>();
}

}  // namespace dvm::locality
