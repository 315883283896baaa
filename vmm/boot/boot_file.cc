#include "vmm/boot/boot_file.h"

#include <sys/stat.h>

#include <algorithm>

namespace dvm::vmm {

u64 to_mib(u64 bytes) { return bytes / kMiB + (bytes % kMiB != 0 ? 1 : 0); }

Result<BootFile> BootFile::open(const Fd& fd, std::string role, std::string name) {
  std::string label = role + " " + name;
  struct stat st {};
  if (::fstat(fd.get(), &st) < 0) return sys_error("fstat " + name);
  if (!S_ISREG(st.st_mode)) return usage_error("{}: not a regular file", label);
  if (st.st_size == 0) return usage_error("{}: the file is empty", label);
  return BootFile(fd, std::move(label), static_cast<u64>(st.st_size));
}

Result<std::vector<std::byte>> BootFile::read(u64 offset, u64 bytes) const {
  if (offset >= bytes_) return std::vector<std::byte>{};
  std::vector<std::byte> data(std::min(bytes, bytes_ - offset));
  DVM_TRY(fd_->pread_all(data, offset, label_));
  return data;
}

Status BootFile::load(const hyperkernel::GuestMemory& memory, u64 gpa, u64 offset,
                      u64 bytes) const {
  while (bytes > 0) {
    const auto part = memory.span_from(gpa, bytes);
    if (part.empty()) return error("{}: guest address {:#x} is not RAM", label_, gpa);
    DVM_TRY(fd_->pread_all(part, offset, label_));
    gpa += part.size();
    offset += part.size();
    bytes -= part.size();
  }
  return {};
}

}  // namespace dvm::vmm
