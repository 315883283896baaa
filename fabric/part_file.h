// A file that is either whole or not there: PATH.part until it is.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "fabric/fd.h"

namespace dvm::fabric {

class PartFile {
 public:
  static Result<PartFile> open(const std::string& path) {
    DVM_ASSIGN(Fd fd, Fd::open(path + ".part", O_WRONLY | O_CREAT | O_EXCL, 0600));
    return PartFile(path, std::move(fd));
  }
  ~PartFile() {
    if (fd_.valid()) ::unlink((path_ + ".part").c_str());
  }
  PartFile(PartFile&&) = default;
  PartFile& operator=(PartFile&&) = delete;

  Status write(std::span<const std::byte> bytes, u64 at) {
    return fd_.pwrite_all(bytes, at, path_);
  }
  // Some file systems say only now that they are full.
  Status flush() {
    if (::fsync(fd_.get()) < 0 && errno != EINVAL && errno != EROFS)
      return sys_error("fsync " + path_);
    return {};
  }
  Status finish(u64 bytes) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) < 0)
      return sys_error("ftruncate " + path_);
    DVM_TRY(flush());
    if (::rename((path_ + ".part").c_str(), path_.c_str()) < 0) return sys_error("rename " + path_);
    fd_.reset();
    return {};
  }

 private:
  PartFile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  Fd fd_;
};

}  // namespace dvm::fabric
