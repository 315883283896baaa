// The guest's serial output on its way to stdout or a file.
#pragma once

#include <optional>
#include <span>

#include "fabric/fd.h"
#include "fabric/types.h"

namespace dvm::tools {

// A stdout that is slow holds the guest's serial port back; one that is gone is written to no more,
// and the guest goes on. Threads: write by one, give_up by any.
class ConsoleOutput {
 public:
  // `fd` stays the caller's.
  static Result<ConsoleOutput> open(int fd);

  // Writes all of it; blocks while the reader is slow. Once: why the reader is taken for gone, if
  // it was not by closing its end.
  Status write(std::span<const char> bytes);
  // From now on a reader that does not read is waited for no longer than a moment.
  void give_up();

 private:
  ConsoleOutput(int fd, Fd own, Fd hurry)
      : fd_(fd), own_(std::move(own)), hurry_(std::move(hurry)) {}
  bool wait_writable();

  int fd_;
  Fd own_;    // fd_ opened anew, if it could be
  Fd hurry_;  // an eventfd: give_up was called
  std::optional<u64> deadline_ns_;
  bool gone_ = false;
};

}  // namespace dvm::tools
