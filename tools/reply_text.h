// A guest's replies as people read them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dvm::tools {

// These throw nlohmann::json::exception on a reply of another shape.
// As `dvm-ctl balloon` shows it, without the guest's name.
std::string balloon_text(const nlohmann::json& balloon);
std::string pages_text(const nlohmann::json& pages);
std::string status_text(const nlohmann::json& status);
std::string event_text(const nlohmann::json& event);  // "[   12.345] node_joined  node=0 pid=123"
// An array of statuses, each with the "pid" of its dvm-run and its "uptime_s".
std::string list_text(const nlohmann::json& guests);

}  // namespace dvm::tools
