// --detach: the launcher goes on in the background.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "fabric/fd.h"

namespace dvm::tools {

// The launcher as a daemon: a session of its own, /dev/null on stdin and stdout, and on stderr,
// which its nodes share, a pipe to a thread of ours. What is said there goes to the terminal that
// started it until the guest runs, and to a log of bounded size. Threads: started() by any.
class Daemon {
 public:
  static constexpr std::size_t kMaxLog = 256 * 1024;

  // In the process that called: its exit code, once the guest runs (0) or could not be started. In
  // the daemon: the daemon. Precondition: no other thread.
  struct Split;
  static Result<Split> split();
  // The process that called becomes the daemon, whoever's it was: the other end of `status` is told
  // how that went, with one byte: 0 once the guest runs, or what it ends with instead. What it says
  // until then goes to its stderr of now. Precondition: it leads its session; no other thread.
  static Result<std::unique_ptr<Daemon>> become(Fd status);
  // Tells who waits with what we end, if the guest never ran.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // From now on all that is said is kept in the file "log" of this folder.
  Status keep_log(const std::string& folder);
  // The guest runs: the terminal is let go. Once.
  void started();
  // All is said, and `code` what we end with. The log of a run that failed is kept beside the
  // folder (kept_log_path), which has to be there still.
  void end(int code);

 private:
  Daemon(Fd said, Fd terminal, Fd status, Fd wake);
  void run();
  bool relay();  // what is there; false if nothing was
  void write_log(std::string_view text);

  Fd said_;      // the read end of stderr
  Fd terminal_;  // the stderr we were started with; the thread's
  Fd status_;    // a pipe to the process that started us; the thread's while it runs
  Fd wake_;      // an eventfd
  std::atomic<bool> started_{false}, ending_{false};
  std::atomic<int> log_{-1};
  Fd log_file_;
  std::string folder_;
  int code_ = 0;
  std::size_t log_bytes_ = 0;  // the thread's, as what follows
  std::string recent_;
  std::thread thread_;
};

// A Ctrl-C while the guest is being started is the daemon's to answer. Threads: one, once.
void pass_signals_to(pid_t daemon);

struct Daemon::Split {
  std::optional<int> exit_code;
  std::unique_ptr<Daemon> daemon;
};

}  // namespace dvm::tools
