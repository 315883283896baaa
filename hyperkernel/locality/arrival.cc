#include "hyperkernel/locality/arrival.h"

namespace dvm::locality {
namespace {

std::optional<u8> most_crowded(const Placement& now) {
  std::optional<u8> found;
  u32 most = 1;
  for (u8 n = 0; n < now.nodes; ++n) {
    const u32 load = now.load(n);
    if (load <= most) continue;
    most = load;
    found = n;
  }
  return found;
}

}  // namespace

std::optional<Decision> first_vcpu_for(u8 node, const Placement& now, u64 now_ns,
                                       const HeldBack& held_back) {
  if (node >= now.nodes || now.slots[node] == 0 || now.load(node) != 0) return std::nullopt;
  const auto from = most_crowded(now);
  if (!from) return std::nullopt;
  std::optional<u16> who;
  double least = 0;
  for (u16 v = 0; v < now.node_of.size(); ++v) {
    if (now.node_of[v] != *from) continue;
    const double held = held_back(v);
    if (who && held > least) continue;
    who = v;
    least = held;
  }
  return Decision{.time_ns = now_ns,
                  .count = now.load(*from),
                  .vcpu = *who,
                  .from = *from,
                  .to = node,
                  .act = Act::move_vcpu,
                  .because = Because::node_came};
}

}  // namespace dvm::locality
