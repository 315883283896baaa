#include "tools/bench/console_child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace dvm::tools {
namespace {

[[noreturn]] void become(char* const* words, int input, int output) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int source = input >= 0 ? input : ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(source, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execvp(words[0], words);
  ::dprintf(STDERR_FILENO, "cannot run %s: %s\n", words[0], std::strerror(errno));
  ::_exit(127);
}

}  // namespace

Result<ConsoleChild> ConsoleChild::start(const std::vector<std::string>& words, Input input) {
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) < 0) return sys_error("pipe");
  Fd output(ends[0]), their_output(ends[1]);
  Fd typed, their_input;
  if (input == Input::typed) {
    // A socket, unlike a pipe, can be written to without a signal when nobody reads any more.
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0)
      return sys_error("socketpair");
    typed = Fd(ends[0]);
    their_input = Fd(ends[1]);
  }
  const pid_t pid = ::fork();
  if (pid < 0) return sys_error("fork");
  if (pid == 0) become(arguments.data(), their_input.get(), their_output.get());
  Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  ConsoleChild child(pid, std::move(output), std::move(typed), std::move(ended));
  if (!child.ended_.valid()) return sys_error("pidfd_open");
  return child;
}

ConsoleChild::~ConsoleChild() {
  if (pid_ <= 0) return;
  signal(SIGKILL);
  wait();
}

// One that was waited for has no number any more; -1 would be everybody.
void ConsoleChild::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

int ConsoleChild::wait() {
  int status = 0;
  if (pid_ <= 0) return status;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

}  // namespace dvm::tools
