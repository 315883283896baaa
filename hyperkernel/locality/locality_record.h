// Locality in the pool: which policy decides, who carries it out, what nodes have seen, what was
// decided.
//
// One node at a time has the role to decide (fabric/claim.h): when it dies another takes it over,
// and begins with what is seen from then on. All that is here is advice; the guest's state does not
// hang on any of it, so a ring that a death left a hole in is no harm.
#pragma once

#include "fabric/pool_record.h"
#include "hyperkernel/locality/cost_model.h"
#include "hyperkernel/locality/decision_log.h"
#include "hyperkernel/locality/observation_ring.h"
#include "hyperkernel/locality/policy.h"

namespace dvm::locality {

inline constexpr u32 kLocalityVersion = 3;

// Pages whose mapping is to be taken away on a node (SampleWish). Put by who decides, taken by the
// node; what does not fit is not looked at.
struct WishBox {
  static constexpr u32 kWishes = 64;
  std::array<std::atomic<u64>, kWishes> pages;  // page + 1; 0: free

  bool put(u32 page);
  // Calls `each(page)` and frees its place.
  template <typename Each>
  void take(Each&& each) {
    for (auto& place : pages) {
      if (place.load(std::memory_order_relaxed) == 0) continue;
      const u64 wish = place.exchange(0, std::memory_order_acq_rel);
      if (wish != 0 && wish <= ~u32{0}) each(static_cast<u32>(wish - 1));
    }
  }
};

struct alignas(64) NodeLocality {
  WishBox wishes;
  // Who evacuates this node because it is failing (fabric/claim.h): 0 unless it is under way.
  std::atomic<u64> evacuator;
  // The generation of the node's process that is no newcomer any more. Stored after the first vCPU
  // was asked to go there: whoever takes the role over in between finds that vCPU there or on its
  // way, which says the same.
  std::atomic<u32> settled;
  ObservationRing seen;
};
static_assert(sizeof(NodeLocality) == 512 + 64 + sizeof(ObservationRing));

// Of CostModel, in whole ns; 0: not measured, the model's own number holds.
struct MeasuredCosts {
  std::atomic<u64> dram_ns;
  std::atomic<u64> region_ns;
  std::atomic<u64> page_move_ns;
  std::atomic<u64> page_share_ns;
  std::atomic<u64> vcpu_move_ns;
};

struct LocalityRecord {
  std::atomic<PolicyKind> policy;
  std::atomic<u64> decider;  // the role
  std::atomic<u64> steps;
  std::atomic<u64> last_step_ns;  // CLOCK_MONOTONIC
  std::atomic<u64> lost;          // observations that the policy did not get
  MeasuredCosts costs;
  DecisionLog decisions;
  std::array<NodeLocality, kMaxNodes> nodes;
};
static_assert(sizeof(LocalityRecord) % 64 == 0);

Status check_record(const LocalityRecord& record, const fabric::RecordPlace& place);

// What was measured so far; what is out of range is not believed.
CostModel costs_of(const LocalityRecord& record);
void publish_costs(LocalityRecord& record, const CostModel& costs);

}  // namespace dvm::locality
