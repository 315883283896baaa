#include "migration/health_watch.h"

namespace dvm::migration {

std::optional<FailingNode> HealthWatch::look(u64 now_ns) {
  std::optional<FailingNode> worst;
  for (u32 n = 0; n < nodes_.size(); ++n) {
    if (!machine_.takes_vcpus(n)) continue;
    Watched& watched = nodes_[n];
    const u32 id = vmm::kFirstNodeInstance + n;
    const u32 generation = machine_.instances().slots[id].generation.load();
    if (watched.generation != generation) watched = {{}, 0, generation};
    const fabric::HealthRecord& record = machine_.health().records[id];
    for (u32 r = 0; r < fabric::kHealthReadings; ++r) {
      const u64 at = record.time_ns[r].load(std::memory_order_acquire);
      if (at == 0) continue;
      watched.trend.add(static_cast<fabric::HealthReading>(r), {at, record.value[r].load()});
    }
    const auto verdict = watched.trend.verdict();
    const bool again = watched.named_ns == 0 || now_ns > watched.named_ns + kAgainNs;
    if (verdict && again && (!worst || verdict->left_ns < worst->verdict.left_ns))
      worst = {n, *verdict};
  }
  if (worst) nodes_[worst->node].named_ns = now_ns;
  return worst;
}

locality::Decision to_leave(const FailingNode& failing, u64 now_ns) {
  return {.time_ns = now_ns,
          .price_ns = failing.verdict.left_ns,
          .count = failing.verdict.samples,
          .from = static_cast<u8>(failing.node),
          .act = locality::Act::evacuate_node,
          .because = locality::Because::node_failing,
          .detail = static_cast<u32>(failing.verdict.reading),
          .value = failing.verdict.value};
}

}  // namespace dvm::migration
