#include "tools/fabric_process.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace dvm::tools {

Result<FabricProcess> FabricProcess::spawn(Ghosts& ghosts, const std::string& program,
                                           const Fd& pool, const std::string& pool_name,
                                           const Fd& lifeline) {
  Program manager{.words = {program, "--pool-fd", fmt::to_string(pool.get()), "--pool-name",
                            pool_name, "--lifeline-fd", fmt::to_string(lifeline.get())}};
  for (const int fd : {pool.get(), lifeline.get()}) manager.keep(fd);
  DVM_ASSIGN(const pid_t pid, ghosts.spawn(std::move(manager)));
  // Nobody else waits for children, so the id cannot be anyone else's yet.
  FabricProcess process(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  if (!process.pidfd().valid()) {
    const Error why = sys_error(fmt::format("pidfd_open {}", pid));
    process.end();
    return why;
  }
  return process;
}

std::optional<int> FabricProcess::reap() const {
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  return status;
}

void FabricProcess::end() const {
  ::kill(pid_, SIGKILL);  // ours and not reaped: the id is its own
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace dvm::tools
