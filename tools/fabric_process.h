// The dvm-fabric process as its launcher sees it.
#pragma once

#include <optional>
#include <string>

#include "fabric/fd.h"
#include "fabric/ghost.h"

namespace dvm::tools {

class FabricProcess {
 public:
  // `program` is the path of dvm-fabric; `lifeline` the read end of a pipe whose write end only the
  // launcher has.
  static Result<FabricProcess> spawn(Ghosts& ghosts, const std::string& program, const Fd& pool,
                                     const std::string& pool_name, const Fd& lifeline);

  i32 pid() const { return pid_; }
  const Fd& pidfd() const { return pidfd_; }  // readable once the process has ended
  // The wait status (as of waitpid) of a process that has ended; none while it runs. Once only.
  std::optional<int> reap() const;
  // SIGKILL, and waits for the end. For one that was not reaped.
  void end() const;

 private:
  FabricProcess(i32 pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  i32 pid_;
  Fd pidfd_;
};

}  // namespace dvm::tools
