#include "here.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace dvm::lab {
namespace {

constexpr int kGraceMs = 2000;  // to end by itself after a SIGTERM

pid_t start(const Options& options, bool foreground) {
  const pid_t pid = fork();
  if (pid != 0) {
    setpgid(pid, pid);  // here and there, whoever comes first
    if (foreground) tcsetpgrp(0, pid);
    return pid;
  }
  setpgid(0, 0);
  if (foreground) tcsetpgrp(0, getpid());
  signal(SIGTTOU, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> arguments;
  arguments.reserve(options.job.command.size() + 1);
  for (const auto& text : options.job.command) arguments.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  std::fprintf(stderr, "lab: %s: %s\n", arguments[0], std::strerror(error));
  _exit(error == ENOENT ? 127 : 126);
}

}  // namespace

int run_here(const Options& options, int signals) {
  const bool foreground = isatty(0) && tcgetpgrp(0) == getpgrp();
  signal(SIGTTOU, SIG_IGN);  // to take the terminal back
  const pid_t pid = start(options, foreground);
  if (pid < 0) return kLabFailed;
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  const long long limit = options.timeout.count() > 0 ? options.timeout.count() * 1000 : -1;
  pollfd polled[] = {{pidfd, POLLIN, 0}, {signals, POLLIN, 0}};
  int code = -1;
  int ready = 0;
  do {
    ready = poll(polled, 2, static_cast<int>(limit));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    std::fprintf(stderr, "lab: ended at the time limit of %lld s\n", limit / 1000);
    code = kTimeLimit;
  } else if (polled[0].revents == 0) {
    signalfd_siginfo info{};
    if (read(signals, &info, sizeof info) == sizeof info)
      code = 128 + static_cast<int>(info.ssi_signo);
  }
  if (code >= 0) {
    kill(-pid, SIGTERM);
    poll(polled, 1, kGraceMs);
    kill(-pid, SIGKILL);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  close(pidfd);
  if (foreground) tcsetpgrp(0, getpgrp());
  if (code >= 0) return code;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace dvm::lab
