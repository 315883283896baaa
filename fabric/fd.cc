#include "fabric/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dvm {

Error sys_error(const std::string& what) {
  const int code = errno;
  return {ErrorKind::runtime, code, fmt::format("{}: {}", what, std::strerror(code))};
}

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Fd> Fd::open(const std::string& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return sys_error("open " + path);
  return Fd(fd);
}

Result<Fd> Fd::duplicate() const {
  const int fd = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return sys_error("fcntl F_DUPFD_CLOEXEC");
  return Fd(fd);
}

Result<u64> Fd::size() const {
  struct stat st {};
  if (::fstat(fd_, &st) < 0) return sys_error("fstat");
  return static_cast<u64>(st.st_size);
}

Status Fd::inherit() const {
  if (::fcntl(fd_, F_SETFD, 0) < 0) return sys_error("fcntl F_SETFD");
  return {};
}

Status Fd::pread_all(std::span<std::byte> to, u64 offset, const std::string& name) const {
  while (!to.empty()) {
    const ssize_t n = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys_error("pread " + name);
    if (n == 0) return error("pread {}: the file ends {} bytes too early", name, to.size());
    to = to.subspan(static_cast<std::size_t>(n));
    offset += static_cast<u64>(n);
  }
  return {};
}

Status Fd::pwrite_all(std::span<const std::byte> from, u64 offset, const std::string& name) const {
  while (!from.empty()) {
    const ssize_t n = ::pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys_error("pwrite " + name);
    from = from.subspan(static_cast<std::size_t>(n));
    offset += static_cast<u64>(n);
  }
  return {};
}

Status Fd::write_all(std::span<const std::byte> from, const std::string& name) const {
  while (!from.empty()) {
    const ssize_t n = ::write(fd_, from.data(), from.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys_error("write " + name);
    from = from.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace dvm
