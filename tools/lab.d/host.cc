// Starts a lab host (QEMU) and runs one command in it, with its streams and its exit code passed
// through, as if it ran here. See frame.h and docs/lab.md.
// With --here: on this machine itself, with the same time limit.
// usage: host --here [--timeout S] -- CMD…
//        host [--timeout S] [--start-limit S] [--out DIR] [--console] [--shell] --qemu ARG… -- CMD…
// Exit codes: the command's; 124 the time limit; 125 the lab failed; 128 + N ended by signal N.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "here.h"
#include "lab_host.h"

namespace dvm::lab {
namespace {

using std::chrono::seconds;

// The terminal is raw while the lab's shell has it.
class RawTerminal {
 public:
  RawTerminal() : on_(tcgetattr(0, &before_) == 0) {
    termios raw = before_;
    cfmakeraw(&raw);
    if (on_) tcsetattr(0, TCSADRAIN, &raw);
  }
  ~RawTerminal() {
    if (on_) tcsetattr(0, TCSADRAIN, &before_);
  }

 private:
  termios before_{};
  bool on_;
};

std::vector<std::string> passed_environment() {
  constexpr std::string_view names[] = {
      "PATH=", "HOME=", "TERM=",  "LANG=",         "LC_ALL=",        "USER=",        "SHELL=",
      "TZ=",   "DVM_",  "GTEST_", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS="};
  std::vector<std::string> result{"DVM_IN_LAB=1"};
  for (char** entry = environ; *entry != nullptr; ++entry)
    for (const auto name : names)
      if (std::string_view(*entry).starts_with(name)) result.emplace_back(*entry);
  return result;
}

Options parse(int argc, char** argv) {
  Options options;
  bool in_qemu = false;
  int i = 1;
  for (; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
    const std::string_view text = argv[i];
    if (in_qemu)
      options.qemu.emplace_back(text);
    else if (text == "--timeout")
      options.timeout = seconds(std::atoi(argv[++i]));
    else if (text == "--start-limit")
      options.start_limit = seconds(std::atoi(argv[++i]));
    else if (text == "--out")
      options.job.out = argv[++i];
    else if (text == "--cache")
      options.job.cache = argv[++i];
    else if (text == "--console")
      options.show_console = true;
    else if (text == "--here")
      options.here = true;
    else if (text == "--shell")
      options.shell = true;
    else if (text == "--qemu")
      in_qemu = true;
  }
  options.job.command.assign(argv + std::min(i + 1, argc), argv + argc);
  return options;
}

// Streams that are closed must not have their numbers taken by something else. A terminal may be
// read only from its foreground: a background job gets no input.
void prepare_streams() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", O_RDWR);
  if (isatty(0) && tcgetpgrp(0) != getpgrp()) dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
}

int run_lab(Options& options) {
  char folder[4096];
  options.job.folder = getcwd(folder, sizeof folder) != nullptr ? folder : "/";
  options.job.environment = passed_environment();
  winsize window{24, 80, 0, 0};
  if (options.shell) {
    ioctl(0, TIOCGWINSZ, &window);
    options.job.terminal = std::to_string(window.ws_row) + " " + std::to_string(window.ws_col);
  }
  prepare_streams();
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

  if (options.here) return run_here(options, signals);
  for (int attempt = 1;; ++attempt) {
    Lab lab(options, signals);
    int code = 0;
    if (options.shell) {
      RawTerminal raw;
      code = lab.run();
    } else {
      code = lab.run();
    }
    if (lab.failure().empty()) return code;
    lab.print_console();
    const bool again = !lab.started() && attempt == 1;  // nothing of the command has happened yet
    std::fprintf(stderr, "lab: the lab host failed%s: %s%s\n",
                 lab.started() ? "" : " before the command started", lab.failure().c_str(),
                 again ? "; starting another" : "");
    if (!again) return kLabFailed;
  }
}

}  // namespace
}  // namespace dvm::lab

int main(int argc, char** argv) {
  auto options = dvm::lab::parse(argc, argv);
  if ((options.qemu.empty() && !options.here) || options.job.command.empty()) return 64;
  return dvm::lab::run_lab(options);
}
