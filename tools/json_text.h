// JSON as text, and how a message shows it. Here only is it parsed and printed: what nlohmann/json
// makes of that in each file that does it takes seconds to compile.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fabric/result.h"

namespace dvm::tools {

// is_discarded() if the text is not valid JSON. Never throws.
nlohmann::json parse_json(std::string_view text);

// On one line, without the line break. What is not UTF-8 is replaced. Never throws.
std::string to_line(const nlohmann::json& value);

// As a message shows it: what it is, and itself if it is short.
std::string shown(const nlohmann::json& value);
Error wrong_type(const nlohmann::json& value, std::string_view allowed);

}  // namespace dvm::tools
