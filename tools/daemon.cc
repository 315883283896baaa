#include "tools/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "tools/exit_code.h"
#include "tools/message.h"
#include "tools/node_process.h"
#include "tools/runtime_dir.h"

namespace dvm::tools {
namespace {

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return sys_error("pipe2");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

volatile std::sig_atomic_t daemon_pid = 0;
void pass_on(int signal) { ::kill(daemon_pid, signal); }

int await_start(pid_t daemon, const Fd& status) {
  pass_signals_to(daemon);
  u8 code = 0;
  ssize_t n = 0;
  while ((n = ::read(status.get(), &code, 1)) < 0 && errno == EINTR) {
  }
  if (n == 1) return code;
  int ended = 0;
  while (::waitpid(daemon, &ended, 0) < 0 && errno == EINTR) {
  }
  say("the launcher ended before the guest ran: {}", describe_wait_status(ended));
  return kExitError;
}

Status leave_terminal(const Fd& said) {
  DVM_ASSIGN(const Fd null, Fd::open("/dev/null", O_RDWR));
  for (const auto& [from, to] : {std::pair{null.get(), STDIN_FILENO},
                                 {null.get(), STDOUT_FILENO},
                                 {said.get(), STDERR_FILENO}}) {
    if (::dup2(from, to) < 0) return sys_error("dup2");
  }
  return {};
}

void write_fully(const Fd& fd, std::string_view text) {
  while (fd.valid() && !text.empty()) {
    const ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

void pass_signals_to(pid_t daemon) {
  daemon_pid = daemon;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, pass_on);
}

Result<Daemon::Split> Daemon::split() {
  DVM_ASSIGN(Pipe status, make_pipe());
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return sys_error("fork");
  if (pid > 0) {
    status.write.reset();
    return Split{await_start(pid, status.read), nullptr};
  }
  status.read.reset();
  if (::setsid() < 0) return sys_error("setsid");
  DVM_ASSIGN(auto daemon, become(std::move(status.write)));
  return Split{std::nullopt, std::move(daemon)};
}

Result<std::unique_ptr<Daemon>> Daemon::become(Fd status) {
  DVM_ASSIGN(Pipe said, make_pipe());
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return sys_error("eventfd");
  Fd terminal(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  DVM_TRY(leave_terminal(said.write));
  ::signal(SIGPIPE, SIG_IGN);
  if (::fcntl(said.read.get(), F_SETFL, O_NONBLOCK) < 0) return sys_error("fcntl");
  return std::unique_ptr<Daemon>(
      new Daemon(std::move(said.read), std::move(terminal), std::move(status), std::move(wake)));
}

Daemon::Daemon(Fd said, Fd terminal, Fd status, Fd wake)
    : said_(std::move(said)),
      terminal_(std::move(terminal)),
      status_(std::move(status)),
      wake_(std::move(wake)),
      thread_([this] { run(); }) {}

// Told last: who waits for us finds the log, and no folder any more.
Daemon::~Daemon() {
  end(kExitOk);
  const u8 told = static_cast<u8>(code_);
  if (status_.valid()) write_fully(status_, {reinterpret_cast<const char*>(&told), 1});
}

Status Daemon::keep_log(const std::string& folder) {
  DVM_ASSIGN(log_file_, Fd::open(folder + "/log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600));
  folder_ = folder;
  log_.store(log_file_.get());
  return {};
}

void Daemon::started() {
  const u64 one = 1;
  started_.store(true);
  if (::write(wake_.get(), &one, sizeof(one)) < 0) return;  // full: it wakes anyway
}

void Daemon::end(int code) {
  if (!thread_.joinable()) return;
  const u64 one = 1;
  ending_.store(true);
  if (::write(wake_.get(), &one, sizeof(one)) < 0 && errno != EAGAIN) return;
  thread_.join();
  code_ = code;
  if (code != kExitOk && !folder_.empty())
    ::rename((folder_ + "/log").c_str(), kept_log_path(folder_).c_str());
}

void Daemon::run() {
  for (;;) {
    std::array<pollfd, 2> watched = {{{said_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    u64 woken = 0;
    if (::read(wake_.get(), &woken, sizeof(woken)) < 0) woken = 0;
    // What was said before either of these goes out before it takes effect.
    const bool started = started_.load(), ending = ending_.load();
    while (relay()) {
    }
    if (started && status_.valid()) {
      terminal_.reset();
      write_fully(status_, {"", 1});
      status_.reset();
    }
    if (ending) return;
  }
}

bool Daemon::relay() {
  std::array<char, 4096> part;
  const ssize_t n = ::read(said_.get(), part.data(), part.size());
  if (n <= 0) return false;
  const std::string_view text(part.data(), static_cast<std::size_t>(n));
  write_fully(terminal_, text);
  write_log(text);
  return true;
}

// When it is full the older half goes.
void Daemon::write_log(std::string_view text) {
  recent_ += text;
  if (recent_.size() > kMaxLog / 2) recent_.erase(0, recent_.size() - kMaxLog / 2);
  const int log = log_.load();
  if (log < 0) return;
  if (log_bytes_ == 0 || log_bytes_ + text.size() > kMaxLog) {
    if (::ftruncate(log, 0) < 0) return;
    text = recent_;  // and what was said before there was a file
    log_bytes_ = 0;
  }
  log_bytes_ += text.size();
  if (::write(log, text.data(), text.size()) < 0) return;  // a full disk: nobody to tell
}

}  // namespace dvm::tools
