// Splitting a command line into options and words, by CLI11; what the values mean is checked by
// those who know, so that a value is refused in the same words wherever it came from.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fabric/result.h"

namespace dvm::tools {

struct OptionNames {
  std::vector<std::string> with_value;  // "--kernel"
  std::vector<std::string> flags;       // "--help"
  std::vector<std::string> repeatable;  // "--disk": with a value, any number of times
};

struct CommandWords {
  std::map<std::string, std::string> values;
  std::map<std::string, std::vector<std::string>> lists;  // of the repeatable
  std::set<std::string> flags;
  std::vector<std::string> rest;  // words that belong to no option

  std::optional<std::string> value(const std::string& option) const;
  std::vector<std::string> list(const std::string& option) const;
  bool has(const std::string& flag) const { return flags.contains(flag); }
};

// Refuses unknown options, missing values and options given twice. Never throws.
Result<CommandWords> split_command_line(const std::vector<std::string>& words,
                                        const OptionNames& names);

}  // namespace dvm::tools
