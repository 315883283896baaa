#include "tools/bench/iperf_server.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>

namespace dvm::tools {
namespace {

constexpr int kNotFound = 127;

[[noreturn]] void become(const std::string& port) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  ::execlp("iperf3", "iperf3", "-s", "-p", port.c_str(), static_cast<char*>(nullptr));
  ::_exit(kNotFound);
}

}  // namespace

Result<std::unique_ptr<IperfServer>> IperfServer::start(u32 port) {
  const std::string text = fmt::to_string(port);
  const pid_t pid = ::fork();
  if (pid < 0) return sys_error("fork");
  if (pid == 0) become(text);
  std::unique_ptr<IperfServer> server(new IperfServer(pid));
  // It ends at once when it cannot listen; a guest takes seconds to come up.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid) return server;
  server->pid_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotFound)
    return error("cannot run iperf3: tools/setup installs it");
  return error("iperf3 -s -p {}: ended at once; is the port taken?", port);
}

IperfServer::~IperfServer() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace dvm::tools
