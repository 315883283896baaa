// `dvm-ctl balloon`: how much memory the guest is asked to give up, and what it tells of the rest.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "vmm/machine.h"

namespace dvm::tools {

// {"bytes": N} sets the balloon's size; without, nothing is changed. The answer has what the guest
// has given up so far and its statistics, which it is asked for and waited for up to half a second.
Result<nlohmann::json> balloon_request(const nlohmann::json& request, vmm::Machine& machine);

// The balloon as status shows it, with the statistics last told; null without a balloon.
nlohmann::json balloon_json(vmm::Machine& machine);

}  // namespace dvm::tools
