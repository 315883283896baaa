#include "fabric/mapping.h"

#include <sys/mman.h>

namespace dvm {

void Mapping::reset() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
  base_ = nullptr;
  bytes_ = 0;
}

Result<Mapping> Mapping::shared(const Fd& fd, u64 offset, u64 bytes, const std::string& name) {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(),
                   static_cast<off_t>(offset));
  if (p == MAP_FAILED) return sys_error(fmt::format("mmap {} bytes of {}", bytes, name));
  return Mapping(static_cast<std::byte*>(p), bytes);
}

Result<Mapping> Mapping::reserve(u64 bytes, u64 alignment) {
  const u64 with_slack = bytes + alignment;
  void* p =
      ::mmap(nullptr, with_slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return sys_error(fmt::format("mmap {} bytes of address space", with_slack));
  auto* raw = static_cast<std::byte*>(p);
  auto* base = reinterpret_cast<std::byte*>(align_up(reinterpret_cast<u64>(raw), alignment));
  const u64 head = static_cast<u64>(base - raw);
  if (head != 0) ::munmap(raw, head);
  if (with_slack - head != bytes) ::munmap(base + bytes, with_slack - head - bytes);
  return Mapping(base, bytes);
}

Status Mapping::map_at(u64 at, const Fd& fd, u64 offset, u64 bytes, const std::string& name) const {
  if (at > bytes_ || bytes > bytes_ - at)
    return error("mapping {}: {:#x}+{:#x} is out of range", name, at, bytes);
  void* p = ::mmap(base_ + at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(),
                   static_cast<off_t>(offset));
  if (p == MAP_FAILED) return sys_error(fmt::format("mmap {:#x}+{:#x} of {}", offset, bytes, name));
  return {};
}

}  // namespace dvm
