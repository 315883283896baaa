// `dvm-ctl policy`: who decides where vCPUs run, while the guest runs.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "vmm/machine.h"

namespace dvm::tools {

// {"policy": NAME} sets it; without, nothing is changed. Who has the role to decide follows within
// 0.1 s. Answers with the policy that is set.
Result<nlohmann::json> policy_request(const nlohmann::json& request, vmm::Machine& machine);

}  // namespace dvm::tools
