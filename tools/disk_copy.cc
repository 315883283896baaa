#include "tools/disk_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "tools/child_output.h"

namespace dvm::tools {

Status copy_disk(const std::string& from, u64 bytes, const std::string& to,
                 const std::function<Status()>& go_on) {
  DVM_ASSIGN(const Fd file, Fd::open(to, O_RDWR));
  struct stat st {};
  if (::fstat(file.get(), &st) < 0) return sys_error("fstat " + to);
  if (!S_ISREG(st.st_mode) || st.st_size != 0) return error("{}: allowed: an empty file", to);
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) < 0) return sys_error("ftruncate " + to);
  // -U: we have the source's locks ourselves. -C: by copy_file_range, where that can be.
  const Status copied = run_program({"qemu-img", "convert", "-U", "-C", "-n", "--target-is-zero",
                                     "-f", "raw", "-O", "raw", from, to},
                                    go_on);
  if (!copied.ok()) return error("copy {}: {}", from, copied.error().message);
  if (::fsync(file.get()) < 0) return sys_error("fsync " + to);
  return {};
}

Status make_overlay(const std::string& path, const std::string& base, u64 bytes) {
  // -u: what it stands on is not looked at; its size is known.
  const Status made = run_program({"qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw",
                                   "-b", base, path, std::to_string(bytes)});
  return made.ok() ? made : Status(error("{}: {}", path, made.error().message));
}

std::string path_of_descriptor(int fd) { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd); }

Result<MadeFile> MadeFile::make(const std::optional<std::string>& folder, const std::string& name,
                                const std::string& disk) {
  namespace fs = std::filesystem;
  if (folder) {
    std::string path = fs::absolute(*folder) / name;
    DVM_ASSIGN(Fd fd, Fd::open(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    return MadeFile(std::move(fd), std::move(path));
  }
  std::error_code failure;
  if (fs::is_block_file(disk, failure))
    return error("a block device, beside which nothing can be kept");
  const std::string beside = fs::absolute(disk).parent_path();
  DVM_ASSIGN(Fd fd, Fd::open(beside, O_RDWR | O_TMPFILE, 0600));
  return MadeFile(std::move(fd), "");
}

MadeFile::~MadeFile() {
  if (fd_.valid() && !name_.empty() && !kept_) ::unlink(name_.c_str());
}

MadeFile::MadeFile(MadeFile&& other) noexcept
    : fd_(std::move(other.fd_)),
      name_(std::exchange(other.name_, {})),
      kept_(std::exchange(other.kept_, false)) {}

std::string MadeFile::path() const { return name_.empty() ? path_of_descriptor(fd_.get()) : name_; }

}  // namespace dvm::tools
