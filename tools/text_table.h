// Columns for people: aligned, numbers to the right.
#pragma once

#include <string>
#include <vector>

namespace dvm::tools {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace dvm::tools
