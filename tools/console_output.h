// The guest's serial output on its way to stdout.
#pragma once

#include <optional>
#include <span>

#include "fabric/fd.h"
#include "vmm/machine.h"

namespace dvm::tools {

// A stdout that is slow holds the guest's serial port back; one that is gone is written to no more,
// and the guest goes on. Threads: drain by one, give_up by any.
class ConsoleOutput {
 public:
  static Result<ConsoleOutput> open(vmm::Machine& machine, int fd);

  // Writes all that waits; blocks while the reader is slow. True if there was anything.
  bool drain();
  // From now on a reader that does not read is waited for no longer than a moment.
  void give_up();

 private:
  ConsoleOutput(vmm::Machine& machine, int fd, Fd own, Fd hurry)
      : machine_(&machine), fd_(fd), own_(std::move(own)), hurry_(std::move(hurry)) {}
  void write(std::span<const char> bytes);
  bool wait_writable();

  vmm::Machine* machine_;
  int fd_;
  Fd own_;    // fd_ opened anew, if it could be
  Fd hurry_;  // an eventfd: give_up was called
  std::optional<u64> deadline_ns_;
  bool gone_ = false;
};

}  // namespace dvm::tools
