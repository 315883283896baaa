// What is typed, on its way to the guest's serial port.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "fabric/fd.h"
#include "tools/escape_keys.h"
#include "vmm/machine.h"

namespace dvm::tools {

// Bytes for which the serial port has no room wait here; a pipe is read no further meanwhile, a
// terminal is, for the sake of its escape keys. The end of stdin is not the end of the guest.
class ConsoleInput {
 public:
  // `keys`: `fd` (stdin) is a terminal. `on_command` runs on the reading thread.
  static Result<std::unique_ptr<ConsoleInput>> start(vmm::Machine& machine, int fd, bool keys,
                                                     std::function<void(KeyCommand)> on_command);
  ~ConsoleInput();
  ConsoleInput(const ConsoleInput&) = delete;
  ConsoleInput& operator=(const ConsoleInput&) = delete;

  // Types what waits, as far as there is room. If some still waits: when to try again should the
  // console's `produced` not ring before. Threads: any.
  std::optional<u64> push();

 private:
  ConsoleInput(vmm::Machine& machine, int fd, bool keys, std::function<void(KeyCommand)> on_command,
               Fd quit);
  void run();
  bool wait_readable();
  void take(std::string_view typed);
  void wait_for_room();
  bool push_locked();  // true if all is typed

  vmm::Machine& machine_;
  const int fd_;
  const bool keys_;
  const std::function<void(KeyCommand)> on_command_;
  EscapeKeys escape_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::string waiting_;  // guarded by mutex_
  u64 retry_ns_;         // guarded by mutex_: grows while the guest does not read
  std::atomic<bool> quitting_{false};
  Fd quit_;  // an eventfd
  std::thread thread_;
};

}  // namespace dvm::tools
