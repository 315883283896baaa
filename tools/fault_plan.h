// Faults as people write them: a JSON object each, in a plan, over the control socket, or made of
// the words of a command line.
//   {"faults":[{"fault":"hang","node":1,"for_ms":200,"at_point":"group.armed","occurrence":3},
//              {"fault":"kill","node":0,"seed":7,"mean_ms":1000}]}
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "fabric/fault.h"
#include "fabric/result.h"

namespace dvm::tools {

inline constexpr u64 kMaxPlanBytes = kMiB;
inline constexpr u64 kMaxFaultMs = 3'600'000;

struct PlannedFault {
  fabric::FaultRequest request;
  // corrupt: of what (corrupt_target.h); where that is only the guest knows. With kPageRecord
  // request.value is an address already.
  std::string record;
};

// Checked in everything that does not depend on the guest; how many nodes that has, it says itself.
// Never throws. The errors are of kind usage.
Result<PlannedFault> parse_fault(const nlohmann::json& object);
// At least one fault, at most as many as can be pending.
Result<std::vector<PlannedFault>> parse_fault_plan(const nlohmann::json& plan);
// As above, of a file's text; the errors name the file.
Result<nlohmann::json> read_fault_plan(const std::string& path);
Result<nlohmann::json> parse_fault_text(const std::string& text, const std::string& name);
// "kill node 1"
std::string describe_fault(fabric::FaultKind kind, u32 target);

}  // namespace dvm::tools
