// A guest's state at this moment, as `dvm-ctl status` and the control socket show it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "vmm/machine.h"

namespace dvm::tools {

// starting | running | paused | stopped
std::string_view phase_name(vmm::Phase phase);
std::string_view run_state_name(vmm::VcpuRunState state);
std::string_view stop_reason_name(vmm::StopReason reason);
std::string_view instance_state_name(fabric::InstanceState state);

nlohmann::json status_json(vmm::Machine& machine);

}  // namespace dvm::tools
