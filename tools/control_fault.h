// Fault injection over the control socket: {"command":"fault","faults":[..]} as in a plan
// (fault_plan.h) -> {"ok":true,"faults":[{"number":1,"fault":"kill node 1","state":"done"}]}
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "vmm/machine.h"

namespace dvm::tools {

// Arms all or, if one of them is not for this guest, none. Waits until those without a trigger have
// begun, at most 2 s.
Result<nlohmann::json> handle_fault_request(const nlohmann::json& request, vmm::Machine& machine);

}  // namespace dvm::tools
