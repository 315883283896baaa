// The command line of dvm-fault.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

struct FaultCommandLine {
  std::optional<std::string> name;
  bool json = false;
  bool help = false;
  bool version = false;
  bool points = false;  // list them; no guest is asked
  nlohmann::json plan;  // {"faults":[..]}, checked; null for the above
};

// `words` without the program's name; reads the file of a plan. Never throws.
Result<FaultCommandLine> parse_fault_command_line(const std::vector<std::string>& words);
std::string fault_help();

}  // namespace dvm::tools
