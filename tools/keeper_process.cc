#include "tools/keeper_process.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace dvm::tools {

struct KeeperProcess::Process {
  Process(asio::io_context& io, pid_t p, int pidfd, std::function<void()> f)
      : pid(p), ended(io, pidfd), deadline(io), on_ended(std::move(f)) {}
  pid_t pid;  // 0: collected
  asio::posix::stream_descriptor ended;
  asio::steady_timer deadline;
  std::function<void()> on_ended;
};

Result<KeeperProcess> KeeperProcess::watch(asio::io_context& io, pid_t pid,
                                           std::function<void()> on_ended) {
  siginfo_t info{};
  // Nobody else collects our children, so one that is ours cannot become somebody else meanwhile.
  if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) < 0)
    return sys_error(fmt::format("waitid {}", pid));
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return sys_error(fmt::format("pidfd_open {}", pid));
  auto process = std::make_shared<Process>(io, pid, pidfd, std::move(on_ended));
  wait(process);
  process->deadline.expires_after(kPatience);
  process->deadline.async_wait([weak = std::weak_ptr(process)](const asio::error_code& cancelled) {
    const auto late = weak.lock();
    if (!cancelled && late && late->pid != 0) ::kill(late->pid, SIGKILL);
  });
  return KeeperProcess(std::move(process));
}

void KeeperProcess::wait(const std::shared_ptr<Process>& process) {
  process->ended.async_wait(asio::posix::stream_descriptor::wait_read,
                            [weak = std::weak_ptr(process)](const asio::error_code& failure) {
                              const auto p = weak.lock();
                              if (failure || !p) return;
                              if (::waitpid(p->pid, nullptr, WNOHANG) != p->pid) return wait(p);
                              p->pid = 0;
                              p->deadline.cancel();
                              p->on_ended();
                            });
}

KeeperProcess::~KeeperProcess() {
  if (!process_ || process_->pid == 0) return;
  ::kill(process_->pid, SIGKILL);
  ::waitpid(process_->pid, nullptr, 0);
}

void KeeperProcess::kill() const {
  if (process_->pid != 0) ::kill(process_->pid, SIGKILL);
}

}  // namespace dvm::tools
