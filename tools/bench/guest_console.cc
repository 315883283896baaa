#include "tools/bench/guest_console.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <span>

#include "tools/message.h"
#include "tools/node_process.h"

namespace dvm::tools {

Result<GuestConsole> GuestConsole::start(const std::vector<std::string>& words) {
  DVM_ASSIGN(ConsoleChild child, ConsoleChild::start(words, ConsoleChild::Input::typed));
  return GuestConsole(std::move(child));
}

Result<std::string> GuestConsole::read(int timeout_ms) {
  std::array<pollfd, 2> fds = {
      {{child_.output().get(), POLLIN, 0}, {child_.ended().get(), POLLIN, 0}}};
  const int ready = ::poll(fds.data(), fds.size(), timeout_ms);
  if (ready < 0 && errno != EINTR) return sys_error("poll");
  if (ready <= 0) return std::string();
  if ((fds[0].revents & POLLIN) != 0) {
    std::array<char, 4096> part;
    const ssize_t n = ::read(child_.output().get(), part.data(), part.size());
    if (n > 0) return std::string(part.data(), static_cast<std::size_t>(n));
  }
  if (fds[0].revents != 0) child_.close_output();  // its end; poll leaves a closed one alone
  if (fds[1].revents == 0) return std::string();
  return error("the machine {}", describe_wait_status(child_.wait()));
}

Status GuestConsole::type(const std::string& line) {
  const std::string text = line + "\n";
  return child_.input().write_all(std::as_bytes(std::span(text)), "the console");
}

Status GuestConsole::await_end(double limit_s) {
  if (!ends_within(limit_s)) return error("the machine does not end within {} s", limit_s);
  const int status = child_.wait();
  return status == 0 ? Status{} : error("the machine {}", describe_wait_status(status));
}

// What it says meanwhile is read, so that it never waits for us.
bool GuestConsole::ends_within(double seconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < until) {
    std::array<pollfd, 2> fds = {
        {{child_.ended().get(), POLLIN, 0}, {child_.output().get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), 100) <= 0) continue;
    if (fds[0].revents != 0) return true;
    std::array<char, 4096> part;
    if (::read(child_.output().get(), part.data(), part.size()) <= 0) child_.close_output();
  }
  return false;
}

void GuestConsole::stop() {
  constexpr double kFirst = 0.5, kSecond = 30;
  child_.signal(SIGTERM);
  if (!ends_within(kFirst)) {
    child_.signal(SIGTERM);
    if (!ends_within(kSecond)) child_.signal(SIGKILL);
  }
  child_.wait();
}

}  // namespace dvm::tools
