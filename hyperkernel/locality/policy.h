// Who decides where vCPUs run and which pages are shared. Pure: a policy is told what was seen, and
// says what it wants; it reads no clock and touches no machine, so that a trace can be replayed.
//
//   static    vCPUs stay where they were placed
//   affinity  a vCPU goes to the node that most of the pages it fetches come from
//   learned   what is paid for lack of a move is weighed against what the move costs
//
// Below all three is what the pager does by itself: a page moves to who writes it, is copied to who
// reads it, and is shared once its going to and fro has cost as much as sharing it (`share_now`).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "hyperkernel/locality/cost_model.h"
#include "hyperkernel/locality/decision.h"

namespace dvm::locality {

enum class PolicyKind : u8 { fixed, affinity, learned };
inline constexpr u32 kPolicies = 3;
std::string_view policy_name(PolicyKind kind);
Result<PolicyKind> parse_policy(std::string_view text);

// Where everything is, as of a step. `slots`: vCPUs that a node can run without their sharing
// cores.
struct Placement {
  std::vector<u8> node_of;             // by vCPU
  std::array<u32, kMaxNodes> slots{};  // 0: the node takes none
  u32 nodes = 0;
  // A bit each: nodes that have come since the last step, or got nothing then that was carried out.
  u16 arrived = 0;

  bool has_come(u32 node) const { return (arrived >> node & 1) != 0; }
  u32 load(u32 node) const;
  bool has_room(u32 node) const { return load(node) < slots[node]; }
};

// A page whose mapping is to be taken away on `node`, to see whether it is still used there.
struct SampleWish {
  u32 page = 0;
  u8 node = 0;
};

// Threads: one at a time.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual void observe(const Observation&) {}
  // At a fault that took a page from another node, whose hand-overs have cost `spent_ns` so far.
  virtual bool share_now(const Observation& fault, double spent_ns, const CostModel& costs);
  // About ten times a second. Appends what it wants done; what it says of vCPUs is taken as done.
  virtual void decide(u64, const Placement&, const CostModel&, std::vector<Decision>&) {}
  // What it wants looked at before the next step. Few: each costs the guest a fault.
  virtual void wish_samples(std::vector<SampleWish>&) {}
  // A decision that was not carried out.
  virtual void refused(const Decision&) {}
};

std::unique_ptr<Policy> make_policy(PolicyKind kind);

}  // namespace dvm::locality
