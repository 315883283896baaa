// A file that is either whole or not there: PATH.part until it is. Or one without a name, which is
// whoever's who made it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "fabric/fd.h"

namespace dvm::fabric {

class PartFile {
 public:
  static Result<PartFile> open(const std::string& path) {
    DVM_ASSIGN(Fd fd, Fd::open(path + ".part", O_WRONLY | O_CREAT | O_EXCL, 0600));
    return PartFile(path, std::move(fd), false);
  }
  // An open file of some process, by its path in /proc. Error: it has a name, and would be lost.
  static Result<PartFile> open_unnamed(const std::string& path) {
    DVM_ASSIGN(Fd fd, Fd::open(path, O_WRONLY));
    struct stat st {};
    if (::fstat(fd.get(), &st) < 0) return sys_error("fstat " + path);
    if (!S_ISREG(st.st_mode) || st.st_nlink != 0)
      return error("{}: allowed: a file without a name", path);
    return PartFile(path, std::move(fd), true);
  }
  ~PartFile() {
    if (fd_.valid() && !unnamed_) ::unlink((path_ + ".part").c_str());
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
    if (!unnamed_ && ::rename((path_ + ".part").c_str(), path_.c_str()) < 0)
      return sys_error("rename " + path_);
    fd_.reset();
    return {};
  }

 private:
  PartFile(std::string path, Fd fd, bool unnamed)
      : path_(std::move(path)), fd_(std::move(fd)), unnamed_(unnamed) {}
  std::string path_;
  Fd fd_;
  bool unnamed_;
};

}  // namespace dvm::fabric
