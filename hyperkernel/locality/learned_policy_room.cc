// Where a vCPU should go and there is no room: others make way, or change places with it. And who
// goes where there is nothing but room.
#include <algorithm>

#include "hyperkernel/locality/arrival.h"
#include "hyperkernel/locality/learned_policy.h"

namespace dvm::locality {

// No page of its draws a vCPU to a node that has come: who goes is held back by what it is tied to
// and by what it would have to fetch again.
void LearnedPolicy::fill_arrived(u64 now_ns, const CostModel& costs,
                                 std::vector<Decision>& wanted) {
  for (u8 node = 0; node < placement_.nodes; ++node) {
    if (!placement_.has_come(node)) continue;
    const auto first = first_vcpu_for(node, placement_, now_ns, [&](u16 v) {
      return tied_to(v, placement_.node_of[v]) + price_ns(v, costs);
    });
    if (!first) continue;
    wanted.push_back(*first);
    note_move(first->vcpu, node, now_ns);
  }
}

// The vCPU on `from` that gains most by going to `to`, if one does.
std::optional<u16> LearnedPolicy::keenest(u8 from, u8 to, u64 now_ns,
                                          const CostModel& costs) const {
  std::optional<u16> found;
  double most = 0;
  for (u16 w = 0; w < placement_.node_of.size(); ++w) {
    if (placement_.node_of[w] != from || !free_to_move(w, now_ns)) continue;
    const double surplus = lonely_offer(w, to, costs).surplus();
    if (surplus <= most) continue;
    most = surplus;
    found = w;
  }
  return found;
}

// There is no room: but if somebody there gains by going on, and so forth, until there is room or
// the way leads back here, all of them go. The shortest such way.
bool LearnedPolicy::make_way(u16 v, const Offer& best, u64 now_ns, const CostModel& costs,
                             std::vector<Decision>& wanted) {
  const u8 here = placement_.node_of[v];
  std::array<std::optional<u16>, kMaxNodes> comes;  // who would come to a node, along the way
  std::array<bool, kMaxNodes> reached{};
  std::vector<u8> frontier = {best.to};
  comes[best.to] = v;
  reached[best.to] = true;
  for (std::size_t i = 0; i < frontier.size(); ++i) {
    const u8 at = frontier[i];
    if (at == here || (at != best.to && load_[at] < placement_.slots[at])) {
      for (u8 to = at;;) {
        const u16 w = *comes[to];
        const u8 from = placement_.node_of[w];
        wanted.push_back(decision(w, lonely_offer(w, to, costs), now_ns));
        note_move(w, to, now_ns);
        if (w == v) return true;
        to = from;
      }
    }
    for (u8 to = 0; to < placement_.nodes; ++to) {
      if (reached[to] || placement_.slots[to] == 0) continue;
      comes[to] = keenest(at, to, now_ns, costs);
      if (!comes[to]) continue;
      reached[to] = true;
      frontier.push_back(to);
    }
  }
  return false;
}

// There is no room: somebody there may gain by coming here, or lose little.
bool LearnedPolicy::exchange(u16 v, const Offer& best, u64 now_ns, const CostModel& costs,
                             std::vector<Decision>& wanted) {
  const u8 here = placement_.node_of[v];
  std::optional<u16> with;
  double most = 0;
  for (u16 w = 0; w < placement_.node_of.size(); ++w) {
    if (placement_.node_of[w] != best.to || !free_to_move(w, now_ns)) continue;
    const Offer back = offer(w, here, costs);
    // Being tied to each other, they stay as far apart as they were.
    const double surplus =
        best.surplus() + back.surplus() - 2 * vcpus_[v].ties.tie_ns(w) * (1 + kMargin);
    if (surplus <= most) continue;
    most = surplus;
    with = w;
  }
  if (!with) return false;
  Decision d = decision(v, best, now_ns);
  const Offer back = offer(*with, here, costs);
  d.act = Act::swap_vcpus;
  d.other = *with;
  d.gain_ns += static_cast<u64>(std::max(back.gain_ns, 0.0));
  d.price_ns += static_cast<u64>(back.price_ns);
  wanted.push_back(d);
  note_move(v, best.to, now_ns);
  note_move(*with, here, now_ns);
  return true;
}

}  // namespace dvm::locality
