#include "tools/locality_figures.h"

#include <nlohmann/json.hpp>
#include <numeric>

namespace dvm::tools {

static_assert(vmm::layout::kMaxNodes == locality::kMaxNodes);

LocalityFigures locality_figures(vmm::Machine& machine) {
  const auto& record = machine.locality();
  LocalityFigures f{.policy = record.policy.load(),
                    .decider = {},
                    .steps = record.steps.load(),
                    .lost = record.lost.load(),
                    .decisions = record.decisions.tail.load(),
                    .done = record.decisions.done.load(),
                    .refused = record.decisions.refused.load()};
  const auto who = fabric::InstanceId::unpack(record.decider.load());
  const u32 node = who.id - vmm::kFirstNodeInstance;
  if (!machine.instances().is_stale(who) && node < vmm::layout::kMaxNodes) f.decider = node;
  for (u32 n = 0; n < f.seen.size(); ++n) f.seen[n] = record.nodes[n].seen.tail.load();
  return f;
}

nlohmann::json locality_json(vmm::Machine& machine) {
  const LocalityFigures f = locality_figures(machine);
  nlohmann::json j = {{"policy", locality::policy_name(f.policy)},
                      {"decider", nullptr},
                      {"steps", f.steps},
                      {"seen", std::accumulate(f.seen.begin(), f.seen.end(), u64{0})},
                      {"lost", f.lost},
                      {"decisions", f.decisions},
                      {"done", f.done},
                      {"refused", f.refused}};
  if (f.decider) j["decider"] = *f.decider;
  return j;
}

}  // namespace dvm::tools
