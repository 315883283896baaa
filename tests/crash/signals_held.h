#pragma once

#include <csignal>

namespace dvm::crash {

// While it lives, no child's end is taken note of but in `wait`.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t chld;
    ::sigemptyset(&chld);
    ::sigaddset(&chld, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &chld, &before_);
  }
  ~SignalsHeld() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  void wait() const { ::sigsuspend(&before_); }
  static void let_through() {
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
  }

 private:
  sigset_t before_;
};

}  // namespace dvm::crash
