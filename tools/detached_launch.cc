#include "tools/detached_launch.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/child_output.h"
#include "tools/ghost_keeper.h"
#include "tools/ghost_launcher.h"
#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {

std::optional<DetachedLaunch> DetachedLaunch::in_ghost(const std::vector<std::string>& words,
                                                       const Fd& said) {
  const auto ghost = take_ghost();
  int ends[2];
  if (!ghost || ::pipe2(ends, O_CLOEXEC) < 0) return {};
  Fd status(ends[0]);
  const Fd its(ends[1]);
  Program program{.words = words, .output = said.get()};
  program.words.insert(program.words.begin(), "dvm-run");
  program.descriptors = {{its.get(), kGhostStatus}};
  if (!ghost->become(program)) return {};
  return DetachedLaunch(ghost->pid(), std::move(status), false);
}

Result<DetachedLaunch> DetachedLaunch::start(std::vector<std::string> words, const Fd& said) {
  if (auto ghost = in_ghost(words, said)) return std::move(*ghost);
  DVM_ASSIGN(auto program, sibling_program("dvm-run"));
  words.insert(words.begin(), std::move(program));
  DVM_ASSIGN(const pid_t pid, spawn_saying(std::move(words), said));
  return DetachedLaunch(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))), true);
}

Result<int> DetachedLaunch::await() {
  if (!child_) {
    u8 code = 0;
    ssize_t n = 0;
    while ((n = ::read(status_.get(), &code, 1)) < 0 && errno == EINTR) {
    }
    if (n != 1) return error("the launcher ended before the guest ran");
    return int{code};
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) return sys_error("waitpid");
  }
  if (!WIFEXITED(status)) return error("{}", describe_wait_status(status));
  return WEXITSTATUS(status);
}

}  // namespace dvm::tools
