// The command line of a process that dvm-run starts: files by their descriptors, and names.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tools/command_words.h"

namespace dvm::tools {

struct ChildOptionNames {
  std::vector<std::string> needed_numbers;  // "--pool-fd"
  std::vector<std::string> numbers;
  std::vector<std::string> texts;
  std::vector<std::string> repeatable;  // texts
};

// All of it is checked when it is parsed. Threads: any, once parsed.
class ChildOptions {
 public:
  // `words` as main() has them: the program's name is the first.
  static Result<ChildOptions> parse(const std::vector<std::string>& words,
                                    const ChildOptionNames& names);

  int number(const std::string& option) const;  // 0 to 2^31 - 1; -1: not given
  std::string text(const std::string& option, const std::string& otherwise = "") const;
  std::vector<std::string> list(const std::string& option) const { return words_.list(option); }

 private:
  CommandWords words_;
  std::map<std::string, int> numbers_;
};

// "3,4,5"
Result<std::vector<int>> parse_numbers(const std::string& text);

}  // namespace dvm::tools
