// One lab host: a QEMU, and a command that runs in it.
#pragma once

#include <sys/types.h>

#include <chrono>

#include "frame.h"

namespace dvm::lab {

constexpr int kTimeLimit = 124, kLabFailed = 125;  // exit codes

struct Options {
  std::chrono::seconds timeout{300}, start_limit{60};
  bool here = false, shell = false, show_console = false;
  std::vector<std::string> qemu;
  Job job;
};

// One lab host's life.
class Lab {
 public:
  Lab(const Options& options, int signals) : options_(options), signals_(signals) {}
  ~Lab() { stop(); }
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  // The exit code; kLabFailed when failure() is not empty.
  int run();
  const std::string& failure() const { return failure_; }
  bool started() const { return started_; }
  void print_console() const;

 private:
  void launch();
  void stop();
  bool step();
  void read_signal();
  void read_console();
  void read_port();
  void read_input();
  void write_port();
  void nudge();
  void handle(const Frame& frame);
  void write_stream(int fd, std::string& pending, bool& gone, Kind kind);
  void check_time();
  void fail(const std::string& why) {
    if (failure_.empty()) failure_ = why;
  }

  const Options& options_;
  int signals_;
  pid_t qemu_ = -1;
  int port_ = -1, console_ = -1;
  std::string received_, to_port_, to_out_, to_err_, console_text_, failure_;
  bool started_ = false, input_ended_ = false, out_gone_ = false, err_gone_ = false;
  int code_ = -1;
  std::chrono::steady_clock::time_point begun_, heard_, nudged_;
};

}  // namespace dvm::lab
