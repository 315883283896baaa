#include "hyperkernel/locality/affinity_policy.h"

#include <algorithm>
#include <numeric>

#include "hyperkernel/locality/arrival.h"

namespace dvm::locality {

void AffinityPolicy::observe(const Observation& seen) {
  if (!from_elsewhere(seen) || seen.vcpu >= kMaxVcpus) return;
  if (fetched_.size() <= seen.vcpu) fetched_.resize(seen.vcpu + 1u);
  ++fetched_[seen.vcpu][seen.from];
}

// Who fetches most is held back least.
void AffinityPolicy::fill_arrived(u64 now_ns, Placement& now, std::vector<Decision>& wanted) const {
  const auto held_back = [this](u16 v) {
    if (v >= fetched_.size()) return 0.0;
    return -std::accumulate(fetched_[v].begin(), fetched_[v].end(), 0.0);
  };
  for (u8 node = 0; node < now.nodes; ++node) {
    if (!now.has_come(node)) continue;
    const auto first = first_vcpu_for(node, now, now_ns, held_back);
    if (!first) continue;
    wanted.push_back(*first);
    now.node_of[first->vcpu] = node;
  }
}

void AffinityPolicy::decide(u64 now_ns, const Placement& placement, const CostModel&,
                            std::vector<Decision>& wanted) {
  Placement now = placement;
  fill_arrived(now_ns, now, wanted);
  if (window_began_ns_ == 0) window_began_ns_ = now_ns;
  if (now_ns < window_began_ns_ + kWindowNs) return;
  window_began_ns_ = now_ns;
  const std::size_t vcpus = std::min(fetched_.size(), placement.node_of.size());
  for (std::size_t v = 0; v < vcpus; ++v) {
    const auto& from = fetched_[v];
    const auto most = std::max_element(from.begin(), from.end());
    const u32 sum = std::accumulate(from.begin(), from.end(), 0u);
    const u8 to = static_cast<u8>(most - from.begin());
    if (*most < kLeastFaults || *most * 2 <= sum || to >= now.nodes || to == now.node_of[v] ||
        !now.has_room(to))
      continue;
    wanted.push_back({.time_ns = now_ns,
                      .count = *most,
                      .vcpu = static_cast<u16>(v),
                      .from = now.node_of[v],
                      .to = to,
                      .act = Act::move_vcpu,
                      .because = Because::majority});
    now.node_of[v] = to;
  }
  fetched_.assign(fetched_.size(), {});
}

}  // namespace dvm::locality
