#include "tools/net_supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <vector>

#include "tools/message.h"
#include "tools/node_process.h"
#include "vmm/net/net_device.h"

namespace dvm::tools {
namespace {

// 32 clones that wake at once on one processor took more than 10 s.
constexpr int kReadyLimitMs = 60'000;
// One that cannot stay alive is not started for ever.
constexpr u32 kMaxDeaths = 16;
constexpr std::string_view kReady = "ready";

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return sys_error("pipe2");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace

NetSupervisor::NetSupervisor(asio::io_context& io, vmm::Machine& machine, Ghosts& ghosts,
                             std::string net)
    : io_(io), machine_(machine), ghosts_(ghosts), net_(std::move(net)) {}

NetSupervisor::~NetSupervisor() { end_process(); }

Status NetSupervisor::start() {
  DVM_ASSIGN(Pipe pipe, make_pipe());
  lifeline_ = std::move(pipe.write);
  lifeline_read_ = std::move(pipe.read);
  return spawn();
}

Status NetSupervisor::spawn() {
  DVM_ASSIGN(const std::string program, sibling_program("dvm-net"));
  DVM_ASSIGN(Pipe ready, make_pipe());
  const auto number = [](const Fd& fd) { return fmt::to_string(fd.get()); };
  const Fd& pool = machine_.pool().fd();
  Program net{.words = {program, "--pool-fd", number(pool), "--pool-name", machine_.pool().name(),
                        "--lifeline-fd", number(lifeline_read_), "--ready-fd", number(ready.write),
                        "--net", net_}};
  for (const int fd : {pool.get(), lifeline_read_.get(), ready.write.get()}) net.keep(fd);
  DVM_ASSIGN(pid_, ghosts_.spawn(std::move(net)));
  ready.write.reset();
  // Nobody else waits for children, so the id cannot be anyone else's yet.
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  const Status good = pidfd.valid() ? await_ready(ready.read) : sys_error("pidfd_open");
  if (!good) {
    end_process();
    return good;
  }
  pidfd_.emplace(io_, pidfd.release());
  watch();
  return {};
}

Status NetSupervisor::await_ready(const Fd& ready) {
  std::string said;
  std::array<char, 512> part;
  while (said != kReady) {
    pollfd due{ready.get(), POLLIN, 0};
    if (::poll(&due, 1, kReadyLimitMs) == 0) return error("--net: dvm-net does not start");
    const ssize_t n = ::read(ready.get(), part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return error("--net {}", said.empty() ? "user: dvm-net died" : "user: " + said);
    said.append(part.data(), static_cast<std::size_t>(n));
  }
  return {};
}

void NetSupervisor::watch() {
  pidfd_->async_wait(asio::posix::stream_descriptor::wait_read,
                     [this](const asio::error_code& failure) {
                       if (!failure) ended();
                     });
}

void NetSupervisor::ended() {
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return watch();
  const i32 pid = std::exchange(pid_, 0);
  pidfd_.reset();
  retire();
  if (machine_.state().control.phase.load() == vmm::Phase::stopped) return;
  const std::string how = describe_wait_status(status);
  set_link(false);
  const Status again = ++deaths_ <= kMaxDeaths ? spawn() : error("it has died too often");
  if (!again) {
    say("the user network (pid {}) died: {} - the guest's link stays down: {}", pid, how,
        again.error().message);
    return;
  }
  machine_.state().net.restarts.fetch_add(1);
  machine_.log_event(fabric::EventKind::net_restarted, {static_cast<u64>(pid_), deaths_});
  set_link(true);
  say("the user network (pid {}) died: {} - started again, the guest's connections are lost", pid,
      how);
}

// The fabric manager does this too; it may be later, or dead itself.
void NetSupervisor::retire() {
  const auto& slot = machine_.instances().slots[vmm::kNetInstance];
  const auto state = slot.state.load();
  if (state != fabric::InstanceState::active && state != fabric::InstanceState::suspect) return;
  machine_.instances().retire({vmm::kNetInstance, slot.generation.load()},
                              fabric::InstanceState::dead);
}

void NetSupervisor::end_process() {
  pidfd_.reset();
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);  // ours and not reaped: the id is its own
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
  retire();
}

void NetSupervisor::set_link(bool up) {
  const auto function = vmm::find_net_function(machine_.config());
  if (function) vmm::NetDevice(machine_, *function).set_link(up);
}

}  // namespace dvm::tools
