// A disk in this host's memory that takes as long over each request as one of its class does: the
// kernel's null_blk, which keeps what was written.
#pragma once

#include <string>
#include <utility>

#include "tools/bench/device_class.h"

namespace dvm::tools {

// Needs root. There is one at a time.
class RamDisk {
 public:
  // The kernel's driver for it; no disk yet.
  static Result<RamDisk> open();
  ~RamDisk();
  RamDisk(RamDisk&& other) noexcept
      : loaded_(std::exchange(other.loaded_, false)),
        item_(std::exchange(other.item_, {})),
        device_(std::move(other.device_)) {}
  RamDisk& operator=(RamDisk&&) = delete;

  // A new one, all zeros, in place of the one before. What is not written takes no memory.
  Status renew(u64 bytes, const DeviceClass& kind);
  const std::string& device() const { return device_; }  // "/dev/NAME"; empty before

 private:
  RamDisk() = default;
  Status configure(u64 bytes, const DeviceClass& kind) const;
  Status find_device();
  Status remove();

  bool loaded_ = true;
  std::string item_;  // its folder of settings; empty: there is no disk
  std::string device_;
};

}  // namespace dvm::tools
