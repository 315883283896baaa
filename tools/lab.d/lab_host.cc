#include "lab_host.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

namespace dvm::lab {
namespace {

constexpr std::chrono::seconds kSilence{
    90};  // an agent that has said nothing for so long is not there any more
constexpr std::chrono::milliseconds kNudgeEvery{100};
constexpr std::size_t kAtomic = 4096;  // a pipe that is writable takes this much without blocking
constexpr std::size_t kConsoleKept = 0x10000;

}  // namespace

// The port is a socket pair and the console a pipe, so nothing of a lab host is in the file system,
// and there is nothing to clean up however this process ends.
void Lab::launch() {
  int port[2], console[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, port) != 0 || pipe(console) != 0)
    return fail(std::strerror(errno));
  const pid_t parent = getpid();
  qemu_ = fork();
  if (qemu_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);  // Ctrl-C is for us to handle
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(open("/dev/null", O_RDONLY), 0), dup2(console[1], 1), dup2(console[1], 2);
    close(port[0]), close(console[0]), close(console[1]);
    std::vector<std::string> texts = options_.qemu;
    texts.insert(texts.end(), {"-chardev", "socket,id=port,fd=" + std::to_string(port[1])});
    std::vector<char*> arguments;
    arguments.reserve(texts.size() + 1);
    for (auto& text : texts) arguments.push_back(text.data());
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    std::perror(arguments[0]);
    _exit(127);
  }
  close(port[1]), close(console[1]);
  port_ = port[0], console_ = console[0];
  for (const int fd : {port_, console_}) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  begun_ = heard_ = std::chrono::steady_clock::now();
}

void Lab::stop() {
  if (qemu_ > 0) {
    kill(qemu_, SIGKILL);
    waitpid(qemu_, nullptr, 0);
    qemu_ = -1;
    read_console();
  }
  for (int* fd : {&port_, &console_}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
}

void Lab::check_time() {
  const auto now = std::chrono::steady_clock::now();
  if (!started_ && now - begun_ > options_.start_limit)
    fail("it was not ready within " + std::to_string(options_.start_limit.count()) + " s");
  if (started_ && options_.timeout.count() > 0 && now - begun_ > options_.timeout) {
    std::fprintf(stderr, "lab: ended at the time limit of %lld s\n",
                 static_cast<long long>(options_.timeout.count()));
    code_ = kTimeLimit;
    to_out_.clear(), to_err_.clear();
  }
  if (started_ && code_ < 0 && now - heard_ > kSilence)
    fail("it does not answer (nothing for " + std::to_string(kSilence.count()) + " s)");
}

void Lab::read_signal() {
  signalfd_siginfo info;
  if (read(signals_, &info, sizeof info) != sizeof info) return;
  code_ = 128 + static_cast<int>(info.ssi_signo);
  to_out_.clear(), to_err_.clear();
}

void Lab::read_console() {
  char buffer[kAtomic];
  ssize_t size;
  while ((size = read(console_, buffer, sizeof buffer)) > 0) {
    if (options_.show_console) (void)!write(2, buffer, static_cast<std::size_t>(size));
    console_text_.append(buffer, static_cast<std::size_t>(size));
  }
  if (size == 0) close(std::exchange(console_, -1));
  if (console_text_.size() > kConsoleKept)
    console_text_.erase(0, console_text_.size() - kConsoleKept);
}

void Lab::handle(const Frame& frame) {
  switch (frame.kind) {
    case Kind::kReady: to_port_ += make_frame(Kind::kJob, encode(options_.job)); break;
    case Kind::kStarted: started_ = true, begun_ = std::chrono::steady_clock::now(); break;
    case Kind::kOutput:
      if (!out_gone_) to_out_ += frame.bytes;
      break;
    case Kind::kError:
      if (!err_gone_) to_err_ += frame.bytes;
      break;
    case Kind::kExit: code_ = static_cast<unsigned char>(frame.bytes.at(0)); break;
    default: break;
  }
}

void Lab::read_port() {
  char buffer[kChunk];
  const ssize_t size = recv(port_, buffer, sizeof buffer, 0);
  if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return fail("it died");
  if (size < 0) return;
  heard_ = std::chrono::steady_clock::now();
  received_.append(buffer, static_cast<std::size_t>(size));
  for (Frame frame; take_frame(received_, frame);) handle(frame);
}

void Lab::write_port() {
  const ssize_t size = send(port_, to_port_.data(), to_port_.size(), MSG_NOSIGNAL);
  if (size > 0) to_port_.erase(0, static_cast<std::size_t>(size));
}

void Lab::read_input() {
  char buffer[kAtomic];
  const ssize_t size = read(0, buffer, sizeof buffer);
  if (size > 0) {
    to_port_ += make_frame(Kind::kInput, {buffer, static_cast<std::size_t>(size)});
  } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
    input_ended_ = true;
    to_port_ += make_frame(Kind::kInputEnd);
  }
}

void Lab::write_stream(int fd, std::string& pending, bool& gone, Kind kind) {
  const ssize_t size = write(fd, pending.data(), std::min(pending.size(), kAtomic));
  if (size > 0) pending.erase(0, static_cast<std::size_t>(size));
  if (size < 0 && errno != EAGAIN && errno != EINTR) {
    gone = true;  // the command's next write shall fail, as it would here
    pending.clear();
    to_port_ += make_frame(kind);
  }
}

// QEMU's exit from a nested guest clears a bit of the CPU's interrupt requests without the lock
// that its timers set another one under, so now and then an interrupt is requested of the APIC and
// not of the CPU, and the lab host sleeps on. The next interrupt, whichever it is, brings both:
// this one.
void Lab::nudge() {
  const auto now = std::chrono::steady_clock::now();
  if (!started_ || !to_port_.empty() || now - nudged_ < kNudgeEvery) return;
  nudged_ = now;
  to_port_ = make_frame(Kind::kAlive);
}

bool Lab::step() {
  nudge();
  // Nothing is taken from either side while the other has not taken what came before.
  const bool idle = to_out_.empty() && to_err_.empty();
  const bool ended = code_ >= 0;
  pollfd polled[] = {
      {signals_, POLLIN, 0},
      {console_, POLLIN, 0},
      {idle && !ended ? port_ : -1, POLLIN, 0},
      {to_port_.empty() || ended ? -1 : port_, POLLOUT, 0},
      {started_ && !ended && !input_ended_ && to_port_.empty() ? 0 : -1, POLLIN, 0},
      {to_out_.empty() ? -1 : 1, POLLOUT, 0},
      {to_err_.empty() ? -1 : 2, POLLOUT, 0},
  };
  poll(polled, 7, static_cast<int>(kNudgeEvery.count()));
  if (!idle) heard_ = std::chrono::steady_clock::now();  // it is our caller who is slow
  if (polled[0].revents != 0) read_signal();
  if (polled[1].revents & POLLIN) read_console();
  if (polled[2].revents != 0) read_port();
  if (polled[3].revents != 0) write_port();
  if (polled[4].revents != 0) read_input();
  if (polled[5].revents != 0 && !to_out_.empty())
    write_stream(1, to_out_, out_gone_, Kind::kOutputGone);
  if (polled[6].revents != 0 && !to_err_.empty())
    write_stream(2, to_err_, err_gone_, Kind::kErrorGone);
  check_time();
  return failure_.empty() && (code_ < 0 || !to_out_.empty() || !to_err_.empty());
}

int Lab::run() {
  launch();
  while (failure_.empty() && step()) {
  }
  stop();
  return failure_.empty() ? code_ : kLabFailed;
}

void Lab::print_console() const {
  constexpr int kLines = 60;
  std::vector<std::string> lines(1);
  for (const char c : console_text_) {
    if (c == '\n') {
      if (lines.back().find("TCG doesn't support requested feature") != std::string::npos)
        lines.pop_back();
      lines.emplace_back();
    } else if (c != '\r') {
      lines.back() += c;
    }
  }
  const std::size_t first = lines.size() > kLines ? lines.size() - kLines : 0;
  for (std::size_t i = first; i < lines.size(); ++i)
    if (!lines[i].empty()) std::fprintf(stderr, "lab console: %s\n", lines[i].c_str());
}

}  // namespace dvm::lab
