// The terminal on stdin in raw mode, and back to what it was on every way out.
#pragma once

#include <optional>
#include <string>

#include "fabric/result.h"
#include "vmm/virtio/console.h"

namespace dvm::tools {

// At most one at a time: the way back must be known to the handlers of fatal signals.
class RawTerminal {
 public:
  // True if stdin is a terminal whose keys are ours (not one that we were put in the background
  // of).
  static bool usable();
  static Result<RawTerminal> enter();
  ~RawTerminal();
  RawTerminal(RawTerminal&& other) noexcept : active_(std::exchange(other.active_, false)) {}
  RawTerminal& operator=(RawTerminal&&) = delete;

  // After a stop and SIGCONT the shell has set the terminal as it likes it.
  void enter_again() const;

 private:
  explicit RawTerminal(bool active) : active_(active) {}
  bool active_;
};

// Of the terminal on stdin; none if it is no terminal or does not know.
std::optional<vmm::ConsoleSize> window_size();
// "stty rows 24 cols 80\n": a serial line has no way of its own to tell the guest how large its
// terminal is. Empty if stdin is no terminal.
std::string window_size_command();

}  // namespace dvm::tools
