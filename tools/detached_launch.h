// A dvm-run on its way to the background: in a process that waited for it (dvm-run --ghosts), or in
// one of its own.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "fabric/fd.h"

namespace dvm::tools {

class DetachedLaunch {
 public:
  // `words` as dvm-run's command line has them, --detach among them; what it says before the guest
  // runs goes to `said`.
  static Result<DetachedLaunch> start(std::vector<std::string> words, const Fd& said);
  // The same, if a ghost waits.
  static std::optional<DetachedLaunch> in_ghost(const std::vector<std::string>& words,
                                                const Fd& said);

  // Readable once the guest runs, or never will.
  const Fd& status() const { return status_; }
  pid_t pid() const { return pid_; }
  // Waits for that: dvm-run's exit code, 0 if the guest runs.
  Result<int> await();

 private:
  DetachedLaunch(pid_t pid, Fd status, bool child)
      : pid_(pid), status_(std::move(status)), child_(child) {}
  pid_t pid_;
  Fd status_;   // of a ghost a pipe (Daemon), of a child its pidfd
  bool child_;  // that we wait for
};

}  // namespace dvm::tools
