#include "tools/fabric_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

namespace dvm::tools {

Result<FabricProcess> FabricProcess::spawn(const std::string& program, const Fd& pool,
                                           const std::string& pool_name, const Fd& lifeline) {
  std::array<std::string, 7> words = {
      program,   "--pool-fd",     fmt::to_string(pool.get()),    "--pool-name",
      pool_name, "--lifeline-fd", fmt::to_string(lifeline.get())};
  std::array<char*, 8> argv{};
  for (std::size_t i = 0; i < words.size(); ++i) argv[i] = words[i].data();
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  // To the same number: takes O_CLOEXEC off, in the child only.
  for (const int fd : {pool.get(), lifeline.get()})
    ::posix_spawn_file_actions_adddup2(&actions, fd, fd);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setpgroup(&attributes, 0);  // a Ctrl-C is for the launcher alone
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int failure =
      ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) {
    return Error{ErrorKind::runtime, failure,
                 fmt::format("start {}: {}", program, std::strerror(failure))};
  }
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
