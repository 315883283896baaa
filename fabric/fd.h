// The one owner of file descriptors. Its errors name the system call and its object.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int raw) : fd_(raw) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;

  // Always O_CLOEXEC.
  static Result<Fd> open(const std::string& path, int flags, mode_t mode = 0600);

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

  Result<Fd> duplicate() const;  // O_CLOEXEC
  Result<u64> size() const;      // st_size
  // Lets the descriptor live on in a program started by exec.
  Status inherit() const;
  // Reads or writes the whole span at `offset`, going on after short transfers and EINTR.
  Status pread_all(std::span<std::byte> to, u64 offset, const std::string& name) const;
  Status pwrite_all(std::span<const std::byte> from, u64 offset, const std::string& name) const;
  Status write_all(std::span<const std::byte> from, const std::string& name) const;

 private:
  int fd_ = -1;
};

}  // namespace dvm
