#include "hyperkernel/page_release.h"

#include <fcntl.h>

#include <algorithm>

namespace dvm::hyperkernel {

Result<PageRelease> PageRelease::of(const fabric::Pool& pool, const PageDirectory& directory,
                                    std::vector<RamPart> parts) {
  DVM_ASSIGN(const auto frames, pool.region_header(fabric::RegionKind::frames, 1));
  return PageRelease(pool, directory, std::move(parts), frames);
}

u64 PageRelease::each_part(u64 gpa, u64 bytes, const ReleasePages& release) const {
  u64 given = 0;
  for_each_run(parts_, gpa, bytes, [&](u64 first, u64 pages) { given += release(first, pages); });
  return given;
}

u64 PageRelease::release(u64 gpa, u64 bytes) {
  return each_part(gpa, bytes, [this](u64 first, u64 pages) { return release_part(first, pages); });
}

u64 PageRelease::release_in_order(u64 gpa, u64 bytes, u64 first_frame) {
  return each_part(gpa, bytes, [&](u64 first, u64 pages) {
    const u64 frame_count = frames_.bytes / kPageBytes;
    const bool fits =
        first_frame + first <= frame_count && pages <= frame_count - (first_frame + first);
    return fits ? punch(first_frame + first, pages) : 0;
  });
}

// Frames that lie side by side go by one call.
u64 PageRelease::release_part(u64 first_page, u64 pages) {
  u64 given = 0;
  const u64 frame_count = frames_.bytes / kPageBytes;
  u64 run_frame = 0, run_pages = 0;
  for (u64 page = first_page; page < first_page + pages; ++page) {
    const auto entry = directory_.lookup(page);
    const bool plain = entry && entry->mode == PageMode::shared && entry->frame < frame_count;
    if (plain && run_pages != 0 && entry->frame == run_frame + run_pages) {
      ++run_pages;
      continue;
    }
    given += punch(run_frame, run_pages);
    run_frame = plain ? entry->frame : 0;
    run_pages = plain ? 1 : 0;
  }
  return given + punch(run_frame, run_pages);
}

u64 PageRelease::punch(u64 frame, u64 pages) {
  if (pages == 0) return 0;
  constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const int result =
      ::fallocate(pool_->fd().get(), kMode, static_cast<off_t>(frames_.offset + frame * kPageBytes),
                  static_cast<off_t>(pages * kPageBytes));
  return result == 0 ? pages * kPageBytes : 0;
}

}  // namespace dvm::hyperkernel
