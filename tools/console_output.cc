#include "tools/console_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "fabric/doorbell.h"

namespace dvm::tools {
namespace {

constexpr u64 kLastChanceNs = 500'000'000;

// Writing must not block for ever, yet O_NONBLOCK on stdout itself would be seen by everyone who
// shares it (the shell). Pipes and terminals can be opened anew, with flags of our own.
Fd reopen(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) < 0) return {};
  if (!S_ISFIFO(st.st_mode) && ::isatty(fd) == 0) return {};
  const auto path = fmt::format("/proc/self/fd/{}", fd);
  return Fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

ssize_t write_some(int fd, std::span<const char> bytes) {
  const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0 || errno != ENOTSOCK) return n;
  return ::write(fd, bytes.data(), bytes.size());
}

}  // namespace

Result<ConsoleOutput> ConsoleOutput::open(int fd) {
  Fd hurry(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!hurry.valid()) return sys_error("eventfd");
  Fd own = reopen(fd);
  const int target = own.valid() ? own.get() : fd;
  return ConsoleOutput(target, std::move(own), std::move(hurry));
}

void ConsoleOutput::give_up() {
  const u64 one = 1;
  if (::write(hurry_.get(), &one, sizeof(one)) < 0) return;  // full: was called before
}

Status ConsoleOutput::write(std::span<const char> bytes) {
  while (!gone_ && !bytes.empty()) {
    const ssize_t n = write_some(fd_, bytes);
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      gone_ = !wait_writable();
    } else if (errno != EINTR) {
      gone_ = true;
      if (errno != EPIPE && errno != EIO) return sys_error("write");
    }
  }
  return {};
}

bool ConsoleOutput::wait_writable() {
  for (;;) {
    std::array<pollfd, 2> watched = {{{fd_, POLLOUT, 0}, {hurry_.get(), POLLIN, 0}}};
    int timeout = -1;
    if (deadline_ns_) {
      const u64 now = fabric::monotonic_ns();
      if (now >= *deadline_ns_) return false;
      timeout = static_cast<int>((*deadline_ns_ - now) / 1'000'000) + 1;
    }
    const int ready = ::poll(watched.data(), deadline_ns_ ? 1 : 2, timeout);
    if (ready < 0 && errno != EINTR) return false;
    if (ready > 0 && watched[0].revents != 0) return true;
    if (ready > 0 && watched[1].revents != 0) deadline_ns_ = fabric::monotonic_ns() + kLastChanceNs;
  }
}

}  // namespace dvm::tools
