// The guest's events for programs (JSON) and for people (a line).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "fabric/event_log.h"
#include "vmm/machine.h"

namespace dvm::tools {

// {"seq":1,"time_ns":..,"event":"node_joined","source":"node 0","node":0,"pid":123}
nlohmann::json event_json(const fabric::Event& event);
// "launcher", "node 0".
std::string instance_name(u32 instance);
// What someone who watches the guest's console wants to be told; nothing for the ordinary.
std::optional<std::string> event_message(const fabric::Event& event,
                                         const vmm::MachineConfig& config);

}  // namespace dvm::tools
