// `dvm-ctl why`: the last decisions on where vCPUs run, and what spoke for them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "vmm/machine.h"

namespace dvm::tools {

nlohmann::json why_json(vmm::Machine& machine);
// As people read it. Throws nlohmann::json::exception on a reply of another shape.
std::string why_text(const nlohmann::json& reply);

}  // namespace dvm::tools
