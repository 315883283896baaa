#include "hyperkernel/locality/locality_record.h"

#include <algorithm>

#include "fabric/instance.h"

namespace dvm::locality {
namespace {

Status check_owner(const std::atomic<u64>& word, const char* what,
                   const fabric::RecordPlace& place) {
  const u64 packed = word.load(std::memory_order_relaxed);
  if (packed == 0 || fabric::InstanceId::unpack(packed).id < fabric::kMaxInstances) return {};
  return place.wrong(&word, "{}: {:#x}", what, packed);
}

void take(double& cost, const std::atomic<u64>& measured) {
  const u64 ns = measured.load(std::memory_order_relaxed);
  if (ns != 0) cost = static_cast<double>(ns);
}

u64 whole(double ns) { return std::max<u64>(1, static_cast<u64>(ns)); }

}  // namespace

bool WishBox::put(u32 page) {
  for (auto& place : pages) {
    u64 free = 0;
    if (place.load(std::memory_order_relaxed) == 0 &&
        place.compare_exchange_strong(free, page + u64{1}, std::memory_order_acq_rel))
      return true;
  }
  return false;
}

Status check_record(const LocalityRecord& r, const fabric::RecordPlace& place) {
  if (static_cast<u32>(r.policy.load()) >= kPolicies)
    return place.wrong(&r.policy, "policy {}", static_cast<u32>(r.policy.load()));
  DVM_TRY(check_owner(r.decider, "who decides", place));
  for (const NodeLocality& node : r.nodes)
    DVM_TRY(check_owner(node.evacuator, "who evacuates", place));
  return {};
}

CostModel costs_of(const LocalityRecord& record) {
  CostModel costs;
  const MeasuredCosts& measured = record.costs;
  take(costs.dram_ns, measured.dram_ns);
  take(costs.region_ns, measured.region_ns);
  take(costs.page_move_ns, measured.page_move_ns);
  take(costs.page_share_ns, measured.page_share_ns);
  take(costs.vcpu_move_ns, measured.vcpu_move_ns);
  return check_costs(costs).ok() ? costs : CostModel{};
}

void publish_costs(LocalityRecord& record, const CostModel& costs) {
  record.costs.dram_ns.store(whole(costs.dram_ns));
  record.costs.region_ns.store(whole(costs.region_ns));
  record.costs.page_move_ns.store(whole(costs.page_move_ns));
  record.costs.page_share_ns.store(whole(costs.page_share_ns));
  record.costs.vcpu_move_ns.store(whole(costs.vcpu_move_ns));
}

}  // namespace dvm::locality
