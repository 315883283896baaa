// A file named on the command line that goes into guest memory. Its bytes are read straight into
// the guest's pages. What is wrong with the file is a usage error that names the file.
#pragma once

#include <string>
#include <vector>

#include "fabric/fd.h"
#include "hyperkernel/guest_memory.h"

namespace dvm::vmm {

class BootFile {
 public:
  // `role` and `name` are for messages ("kernel", "/boot/vmlinuz"). `fd` must outlive the BootFile.
  static Result<BootFile> open(const Fd& fd, std::string role, std::string name);

  u64 bytes() const { return bytes_; }
  // "kernel /boot/vmlinuz", the start of every message about it.
  const std::string& label() const { return label_; }

  // Up to `bytes` bytes at `offset`: fewer at the end of the file, none past it.
  Result<std::vector<std::byte>> read(u64 offset, u64 bytes) const;
  // [offset, offset+bytes) of the file to guest memory at `gpa`, which may span RAM ranges.
  Status load(const hyperkernel::GuestMemory& memory, u64 gpa, u64 offset, u64 bytes) const;

 private:
  BootFile(const Fd& fd, std::string label, u64 bytes)
      : fd_(&fd), label_(std::move(label)), bytes_(bytes) {}

  const Fd* fd_;
  std::string label_;
  u64 bytes_;
};

// For messages: rounded up, so that what is too large never looks as if it fitted.
u64 to_mib(u64 bytes);

}  // namespace dvm::vmm
