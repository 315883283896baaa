#include "tools/json_text.h"

namespace dvm::tools {

using nlohmann::json;

json parse_json(std::string_view text) {
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

std::string to_line(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string shown(const json& value) {
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  const std::string text = to_line(value);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

Error wrong_type(const json& value, std::string_view allowed) {
  return usage_error("found {}; allowed: {}", shown(value), allowed);
}

}  // namespace dvm::tools
