// Guest RAM that a fuzzer may fill, with pages behind and before it that nobody may touch, and
// cheap to empty.
#pragma once

#include <sys/mman.h>

#include "hyperkernel/guest_memory.h"
#include "tests/fuzz/input.h"

namespace dvm::fuzz {

class GuestRam {
 public:
  explicit GuestRam(u64 bytes) : bytes_(bytes) {
    void* p = ::mmap(nullptr, bytes + 2 * kPageBytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FUZZ_CHECK(p != MAP_FAILED);
    ram_ = static_cast<std::byte*>(p) + kPageBytes;
    FUZZ_CHECK(::mprotect(ram_, bytes, PROT_READ | PROT_WRITE) == 0);
    memory_ = hyperkernel::GuestMemory({{0, bytes, ram_}});
  }
  void clear() { FUZZ_CHECK(::madvise(ram_, bytes_, MADV_DONTNEED) == 0); }
  const hyperkernel::GuestMemory& memory() const { return memory_; }
  bool holds(u64 gpa, u64 bytes) const { return gpa <= bytes_ && bytes <= bytes_ - gpa; }

 private:
  u64 bytes_;
  std::byte* ram_ = nullptr;
  hyperkernel::GuestMemory memory_;
};

}  // namespace dvm::fuzz
