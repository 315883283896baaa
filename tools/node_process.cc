#include "tools/node_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstring>
#include <vector>

namespace dvm::tools {
namespace {

std::vector<std::string> node_arguments(const NodeLaunch& launch, u32 index) {
  const auto number = [](const Fd& fd) { return fmt::to_string(fd.get()); };
  std::vector<std::string> words = {launch.program,
                                    "--node",
                                    fmt::to_string(index),
                                    "--pool-fd",
                                    number(launch.pool),
                                    "--pool-name",
                                    launch.pool_name,
                                    "--kernel-fd",
                                    number(launch.boot.kernel),
                                    "--kernel-name",
                                    launch.boot.kernel_name,
                                    "--append",
                                    launch.boot.command_line,
                                    "--lifeline-fd",
                                    number(launch.lifeline)};
  if (launch.boot.initrd) {
    words.insert(words.end(), {"--initrd-fd", number(*launch.boot.initrd), "--initrd-name",
                               launch.boot.initrd_name});
  }
  words.insert(words.end(), launch.more_arguments.begin(), launch.more_arguments.end());
  return words;
}

// What the new process has of ours: the descriptors it is told of, stderr, and nothing else.
class SpawnPlan {
 public:
  explicit SpawnPlan(const NodeLaunch& launch) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO);
    keep(launch.pool.get());
    keep(launch.boot.kernel.get());
    if (launch.boot.initrd) keep(launch.boot.initrd->get());
    keep(launch.lifeline.get());
    for (const int fd : launch.more_descriptors) keep(fd);
    // A group of its own: a Ctrl-C at the terminal is for the launcher alone to answer.
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    sigset_t none, usual;
    ::sigemptyset(&none);
    ::sigemptyset(&usual);
    ::sigaddset(&usual, SIGPIPE);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &usual);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  // To the same number: takes O_CLOEXEC off, in the child only.
  void keep(int fd) { ::posix_spawn_file_actions_adddup2(&actions_, fd, fd); }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

Result<NodeProcess> NodeProcess::spawn(const NodeLaunch& launch, u32 index) {
  std::vector<std::string> words = node_arguments(launch, index);
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const SpawnPlan plan(launch);
  pid_t pid = 0;
  const int failure = ::posix_spawn(&pid, launch.program.c_str(), plan.actions(), plan.attributes(),
                                    argv.data(), environ);
  if (failure != 0) {
    return Error{ErrorKind::runtime, failure,
                 fmt::format("start {}: {}", launch.program, std::strerror(failure))};
  }
  // Nobody else waits for children, so the id cannot be anyone else's yet.
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    const Error why = sys_error(fmt::format("pidfd_open {}", pid));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return why;
  }
  return NodeProcess(index, pid, std::move(pidfd));
}

void NodeProcess::kill() const {
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

std::optional<int> NodeProcess::reap() const {
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  return status;
}

std::string describe_wait_status(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("killed by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  }
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

Result<std::string> sibling_program(const std::string& name) {
  char path[PATH_MAX] = {};
  if (::readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
    return sys_error("readlink /proc/self/exe");
  std::string program(path);
  program.replace(program.rfind('/') + 1, std::string::npos, name);
  if (::access(program.c_str(), X_OK) < 0) return sys_error(program);
  return program;
}

}  // namespace dvm::tools
