#include "tools/node_process.h"

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
  std::vector<std::string> words = {
      launch.program,         "--node",      fmt::to_string(index), "--pool-fd",
      number(launch.pool),    "--pool-name", launch.pool_name,      "--lifeline-fd",
      number(launch.lifeline)};
  words.insert(words.end(), launch.more_arguments.begin(), launch.more_arguments.end());
  if (launch.boot.firmware) {
    words.insert(words.end(), {"--firmware-fd", number(*launch.boot.firmware), "--firmware-name",
                               launch.boot.firmware_name});
    return words;
  }
  words.insert(words.end(), {"--kernel-fd", number(launch.boot.kernel), "--kernel-name",
                             launch.boot.kernel_name, "--append", launch.boot.command_line});
  if (launch.boot.initrd) {
    words.insert(words.end(), {"--initrd-fd", number(*launch.boot.initrd), "--initrd-name",
                               launch.boot.initrd_name});
  }
  return words;
}

// The descriptors it is told of.
std::vector<int> node_descriptors(const NodeLaunch& launch) {
  std::vector<int> all = launch.more_descriptors;
  all.insert(all.end(), {launch.pool.get(), launch.lifeline.get()});
  if (launch.boot.kernel.valid()) all.push_back(launch.boot.kernel.get());
  if (launch.boot.firmware) all.push_back(launch.boot.firmware->get());
  if (launch.boot.initrd) all.push_back(launch.boot.initrd->get());
  return all;
}

}  // namespace

Result<NodeProcess> NodeProcess::spawn(const NodeLaunch& launch, u32 index) {
  Program node{.words = node_arguments(launch, index)};
  for (const int fd : node_descriptors(launch)) node.keep(fd);
  DVM_ASSIGN(const pid_t pid, launch.ghosts.spawn(std::move(node)));
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
