// The figures of locality for status and metrics: what nodes saw, and what came of it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "vmm/machine.h"

namespace dvm::tools {

// Takes no lock: the figures are as of about now.
struct LocalityFigures {
  locality::PolicyKind policy{};
  std::optional<u32> decider;  // the node that has the role
  u64 steps = 0;
  u64 lost = 0;  // observations that the policy did not get
  u64 decisions = 0;
  u64 done = 0, refused = 0;  // of these
  std::array<u64, vmm::layout::kMaxNodes> seen{};
};

LocalityFigures locality_figures(vmm::Machine& machine);
nlohmann::json locality_json(vmm::Machine& machine);

}  // namespace dvm::tools
