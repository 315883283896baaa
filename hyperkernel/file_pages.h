// Which pages of a file have memory: those that are holes are zero.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fabric/fd.h"

namespace dvm::hyperkernel {

// Calls `visit(page, data)` for pages [first, last) of a file; a page that is a hole is zero, and
// is not to be touched, as that would give it memory.
template <typename Visit>
void each_page(const Fd& file, u64 at, u64 first, u64 last, Visit&& visit) {
  for (u64 page = first; page < last;) {
    const auto here = static_cast<off_t>(at + page * kPageBytes);
    const off_t data = ::lseek(file.get(), here, SEEK_DATA);
    const bool none = data < 0 && errno == ENXIO;
    const off_t begin = data < 0 ? here : data;
    const u64 next = none ? last : std::min((static_cast<u64>(begin) - at) / kPageBytes, last);
    for (; page < next; ++page) visit(page, false);
    if (page >= last) return;
    const off_t hole = data < 0 ? -1 : ::lseek(file.get(), begin, SEEK_HOLE);
    const u64 end =
        hole < 0 ? last
                 : std::min(align_up(static_cast<u64>(hole) - at, kPageBytes) / kPageBytes, last);
    for (; page < std::max(end, next + 1); ++page) visit(page, true);
  }
}

}  // namespace dvm::hyperkernel
