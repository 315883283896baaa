// The one door to guest memory: every access is checked against the guest's RAM ranges, so a bad
// guest address is an error, never a stray write in the host.
#pragma once

#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::hyperkernel {

// A run of guest-physical RAM and where this process sees it. Neither end wraps.
struct RamRange {
  u64 gpa = 0;
  u64 bytes = 0;
  std::byte* host = nullptr;
};

// Threads: any. Guest memory may change under the reader at any time (vCPUs run), so callers copy
// out what they check (no double fetch).
class GuestMemory {
 public:
  GuestMemory() = default;
  // Ranges must not overlap; sorted by gpa.
  explicit GuestMemory(std::vector<RamRange> ranges) : ranges_(std::move(ranges)) {}

  // The bytes at [gpa, gpa+bytes), if all are RAM and in one range.
  Result<std::span<std::byte>> span(u64 gpa, u64 bytes) const;
  // As span, but cut short at the end of the RAM range; empty if gpa is not RAM.
  std::span<std::byte> span_from(u64 gpa, u64 bytes) const;

  Status read(u64 gpa, std::span<std::byte> to) const;
  Status write(u64 gpa, std::span<const std::byte> from) const;
  Status fill(u64 gpa, u64 bytes, std::byte value) const;

  template <typename T>
  Result<T> load(u64 gpa) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    DVM_TRY(read(gpa, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  template <typename T>
  Status store(u64 gpa, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return write(gpa, std::as_bytes(std::span(&value, 1)));
  }
  // A naturally aligned word shared with running vCPUs (ring indices). Error if not aligned or RAM.
  template <typename T>
  Result<T> load_acquire(u64 gpa) const {
    DVM_ASSIGN(T * word, aligned_word<T>(gpa));
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
  }
  template <typename T>
  Status store_release(u64 gpa, T value) const {
    DVM_ASSIGN(T * word, aligned_word<T>(gpa));
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    return {};
  }

  const std::vector<RamRange>& ranges() const { return ranges_; }
  u64 total_bytes() const;

 private:
  template <typename T>
  Result<T*> aligned_word(u64 gpa) const {
    static_assert(std::is_integral_v<T>);
    if (!is_aligned(gpa, sizeof(T))) return error("guest address {:#x} is not aligned", gpa);
    DVM_ASSIGN(auto bytes, span(gpa, sizeof(T)));
    return reinterpret_cast<T*>(bytes.data());
  }

  std::vector<RamRange> ranges_;
};

}  // namespace dvm::hyperkernel
