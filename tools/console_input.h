// What is typed on stdin, on its way to the guest's serial port.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "fabric/fd.h"
#include "tools/escape_keys.h"
#include "tools/typed_input.h"

namespace dvm::tools {

// While the guest does not read, a pipe is read no further; a terminal is, for the sake of its
// escape keys. The end of stdin is not the end of the guest.
class ConsoleInput {
 public:
  // `keys`: `fd` (stdin) is a terminal. `on_command` runs on the reading thread.
  static Result<std::unique_ptr<ConsoleInput>> start(TypedInput& typed, int fd, bool keys,
                                                     std::function<void(KeyCommand)> on_command);
  ~ConsoleInput();
  ConsoleInput(const ConsoleInput&) = delete;
  ConsoleInput& operator=(const ConsoleInput&) = delete;

 private:
  ConsoleInput(TypedInput& typed, int fd, bool keys, std::function<void(KeyCommand)> on_command,
               Fd quit);
  void run();
  bool wait_readable();
  void take(std::string_view text);

  TypedInput& typed_;
  const int fd_;
  const bool keys_;
  const std::function<void(KeyCommand)> on_command_;
  EscapeKeys escape_;
  std::atomic<bool> quitting_{false};
  Fd quit_;  // an eventfd
  std::thread thread_;
};

}  // namespace dvm::tools
