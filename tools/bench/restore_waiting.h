// Guests that go on from a file in programs that were started before: in a ghost of ours
// (dvm-run --ghosts), and in a QEMU that waits at its monitor.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/console_child.h"

namespace dvm::tools {

// A keeper of one ghost; it ends with us. Threads: one.
class RestoreGhost {
 public:
  static Result<RestoreGhost> start(const std::string& dvm_run);
  // From here until a guest of that file answers; the ghost waits already. `socket`: where its
  // serial port is to lead. Seconds.
  Result<double> time_to_answer(const std::string& file, const std::string& name,
                                const std::string& socket, double limit_s);

 private:
  explicit RestoreGhost(ConsoleChild keeper) : keeper_(std::move(keeper)) {}
  Status await_ghost(double limit_s);

  ConsoleChild keeper_;
};

// `words` start a QEMU that waits at `monitor` and has the snapshot. Seconds, as above.
Result<double> waiting_qemu_time_to_answer(const std::vector<std::string>& words,
                                           const std::string& monitor, const std::string& snapshot,
                                           double limit_s);

}  // namespace dvm::tools
