// What has been typed, by whoever, on its way to the guest's serial port or virtio console.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/machine.h"

namespace dvm::tools {

// Bytes for which the port has no room wait here, in the order in which they came.
// Threads: any.
class TypedInput {
 public:
  static constexpr std::size_t kMaxWaiting = 64 * 1024;

  explicit TypedInput(vmm::Machine& machine, vmm::ConsolePort port = vmm::ConsolePort::serial)
      : machine_(machine), port_(port) {}

  // Types as much as there is room for; returns how many bytes that was.
  std::size_t type(std::string_view text);
  // Types what waits, as far as there is room. If some still waits: when to try again should the
  // console's `produced` not ring before.
  std::optional<u64> push();
  // Returns when there is room, or when `until` holds: who makes it true calls wake().
  void wait_for_room(const std::function<bool()>& until);
  void wake();

 private:
  bool push_locked();  // true if all is typed

  vmm::Machine& machine_;
  const vmm::ConsolePort port_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::string waiting_;        // guarded by mutex_
  u64 retry_ns_ = 10'000'000;  // guarded by mutex_: grows while the guest does not read
};

}  // namespace dvm::tools
