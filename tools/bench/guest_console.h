// A machine's serial console in our hands.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/console_child.h"

namespace dvm::tools {

class GuestConsole {
 public:
  static Result<GuestConsole> start(const std::vector<std::string>& words);

  // What came, at most `timeout_ms` later; may be nothing. An error: the machine has ended.
  Result<std::string> read(int timeout_ms);
  Status type(const std::string& line);
  // Until it ends by itself, with 0.
  Status await_end(double limit_s);
  // Asks it to end, twice, as one asks dvm-run; one that does not is killed.
  void stop();

 private:
  explicit GuestConsole(ConsoleChild child) : child_(std::move(child)) {}
  bool ends_within(double seconds);

  ConsoleChild child_;
};

}  // namespace dvm::tools
