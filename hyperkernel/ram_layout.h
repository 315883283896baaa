// Where RAM lies in guest-physical address space.
#pragma once

#include <algorithm>
#include <vector>

#include "fabric/types.h"

namespace dvm::hyperkernel {

// A run of RAM: guest addresses [gpa, gpa + bytes) are bytes [offset, offset + bytes) of the
// guest's RAM, and its pages have the directory's entries from offset / 4096 on.
struct RamPart {
  u64 gpa = 0;
  u64 bytes = 0;
  u64 offset = 0;
};

// Calls `visit(first_page, pages)` for the whole pages of RAM in [gpa, gpa + bytes), a part at a
// time.
template <typename Visit>
void for_each_run(const std::vector<RamPart>& parts, u64 gpa, u64 bytes, Visit&& visit) {
  const u64 wanted_end = gpa + std::min(bytes, ~gpa);
  for (const RamPart& part : parts) {
    const u64 begin = align_up(std::max(gpa, part.gpa), kPageBytes);
    const u64 end = std::min(wanted_end, part.gpa + part.bytes) / kPageBytes * kPageBytes;
    if (begin < end)
      visit((part.offset + begin - part.gpa) / kPageBytes, (end - begin) / kPageBytes);
  }
}

}  // namespace dvm::hyperkernel
