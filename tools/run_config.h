// The configuration file of dvm-run: a JSON object that can say all that the command line can.
#pragma once

#include <string>

#include "tools/run_settings.h"

namespace dvm::tools {

// `name` is the file's, for messages. Never throws, whatever the text.
Result<RunRequest> parse_config(const std::string& text, const std::string& name);
// The names of all that it may say.
std::vector<std::string_view> config_keys();
// The text of such a file.
Result<std::string> read_config(const std::string& path);

}  // namespace dvm::tools
