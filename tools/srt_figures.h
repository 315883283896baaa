// The storage replica table for people: dvm-ctl srt, status and metrics.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tools/exposition.h"
#include "vmm/machine.h"

namespace dvm::tools {

// {"on": false}, or what it holds, how often it was of use, and why entries went.
nlohmann::json srt_json(vmm::Machine& machine);
std::string srt_text(const nlohmann::json& reply);
void srt_metrics(Exposition& out, vmm::Machine& machine);

}  // namespace dvm::tools
