#include "tools/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

namespace dvm::tools {
namespace {

termios mode_before;  // written once, before `raw` becomes true
std::atomic<bool> raw{false};

// Async-signal-safe, as tcsetattr is.
void restore() {
  if (raw.exchange(false)) ::tcsetattr(STDIN_FILENO, TCSANOW, &mode_before);
}

void restore_and_die(int signal) {
  restore();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void catch_fatal_signals() {
  struct sigaction action {};
  action.sa_handler = restore_and_die;
  action.sa_flags = static_cast<int>(SA_NODEFER | SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT}) {
    ::sigaction(signal, &action, nullptr);
  }
}

bool set_raw() {
  termios mode = mode_before;
  ::cfmakeraw(&mode);
  mode.c_oflag |=
      OPOST;  // our own lines on stderr end in \n only; the guest's \r\n comes out the same
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  raw.store(true);
  return ::tcsetattr(STDIN_FILENO, TCSANOW, &mode) == 0;
}

}  // namespace

bool RawTerminal::usable() {
  if (::isatty(STDIN_FILENO) == 0) return false;
  const pid_t foreground = ::tcgetpgrp(STDIN_FILENO);
  return foreground < 0 ||
         foreground == ::getpgrp();  // -1: a terminal that controls no session of ours
}

Result<RawTerminal> RawTerminal::enter() {
  if (::tcgetattr(STDIN_FILENO, &mode_before) < 0) return sys_error("tcgetattr stdin");
  catch_fatal_signals();
  if (!set_raw()) return sys_error("tcsetattr stdin");
  return RawTerminal(true);
}

std::optional<vmm::ConsoleSize> window_size() {
  winsize size{};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
    return std::nullopt;
  return vmm::ConsoleSize{size.ws_col, size.ws_row};
}

std::string window_size_command() {
  const auto size = window_size();
  return size ? fmt::format("stty rows {} cols {}\n", size->rows, size->columns) : std::string();
}

RawTerminal::~RawTerminal() {
  if (active_) restore();
}

void RawTerminal::enter_again() const {
  if (active_) set_raw();
}

}  // namespace dvm::tools
