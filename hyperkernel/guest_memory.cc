#include "hyperkernel/guest_memory.h"

#include <algorithm>

namespace dvm::hyperkernel {

std::span<std::byte> GuestMemory::span_from(u64 gpa, u64 bytes) const {
  for (const RamRange& r : ranges_) {
    if (gpa < r.gpa || gpa - r.gpa >= r.bytes) continue;
    const u64 offset = gpa - r.gpa;
    return {r.host + offset, std::min(bytes, r.bytes - offset)};
  }
  return {};
}

Result<std::span<std::byte>> GuestMemory::span(u64 gpa, u64 bytes) const {
  const auto found = span_from(gpa, bytes);
  if (bytes == 0 || found.size() != bytes) {
    return error("guest address {:#x}+{:#x} is not in RAM", gpa, bytes);
  }
  return found;
}

Status GuestMemory::read(u64 gpa, std::span<std::byte> to) const {
  DVM_ASSIGN(const auto from, span(gpa, to.size()));
  std::memcpy(to.data(), from.data(), to.size());
  return {};
}

Status GuestMemory::write(u64 gpa, std::span<const std::byte> from) const {
  DVM_ASSIGN(const auto to, span(gpa, from.size()));
  std::memcpy(to.data(), from.data(), from.size());
  return {};
}

Status GuestMemory::fill(u64 gpa, u64 bytes, std::byte value) const {
  DVM_ASSIGN(const auto to, span(gpa, bytes));
  std::memset(to.data(), static_cast<int>(value), to.size());
  return {};
}

u64 GuestMemory::total_bytes() const {
  u64 sum = 0;
  for (const RamRange& r : ranges_) sum += r.bytes;
  return sum;
}

}  // namespace dvm::hyperkernel
