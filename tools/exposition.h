// Prometheus' text format, as a guest's figures are told in.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "fabric/types.h"

namespace dvm::tools {

// Label values here are numbers, names of ours, and a guest's name (A-Z a-z 0-9 . _ -): none needs
// escaping.
class Exposition {
 public:
  explicit Exposition(std::string guest) : guest_(std::move(guest)) {}

  // The samples of `name` follow.
  void metric(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void sample(u64 value, std::string_view labels = {}) {
    text_ += fmt::format("{}{{guest=\"{}\"{}{}}} {}\n", name_, guest_, labels.empty() ? "" : ",",
                         labels, value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string guest_;
  std::string name_;
  std::string text_;
};

}  // namespace dvm::tools
