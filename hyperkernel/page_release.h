// Guest pages given back to the pool's file: a hole is punched where their frames are. The kernel
// takes the frame out of every mapping of every process, and out of their second-level page tables;
// whoever touches the page next gets a new frame of zeros.
#pragma once

#include <functional>
#include <vector>

#include "fabric/pool.h"
#include "hyperkernel/page_directory.h"
#include "hyperkernel/ram_layout.h"

namespace dvm::hyperkernel {

// Threads: any.
class PageRelease {
 public:
  // `pool` outlives it. `parts` are RAM and nothing else.
  static Result<PageRelease> of(const fabric::Pool& pool, const PageDirectory& directory,
                                std::vector<RamPart> parts);

  // Gives the whole pages of [gpa, gpa + bytes) back. Returns how many bytes the file took: not
  // what is no RAM, nor pages that are not simply shared (others may hold copies of those), nor
  // what the file keeps (a DAX device cannot have holes).
  u64 release(u64 gpa, u64 bytes);
  // The same for RAM that lies in its order from `first_frame` on.
  u64 release_in_order(u64 gpa, u64 bytes, u64 first_frame);

 private:
  PageRelease(const fabric::Pool& pool, const PageDirectory& directory, std::vector<RamPart> parts,
              const fabric::RegionHeader& frames)
      : pool_(&pool), directory_(directory), parts_(std::move(parts)), frames_(frames) {}
  using ReleasePages = std::function<u64(u64 first_page, u64 pages)>;
  u64 each_part(u64 gpa, u64 bytes, const ReleasePages& release) const;
  u64 release_part(u64 first_page, u64 pages);
  u64 punch(u64 frame, u64 pages);

  const fabric::Pool* pool_;
  PageDirectory directory_;
  std::vector<RamPart> parts_;
  fabric::RegionHeader frames_;
};

}  // namespace dvm::hyperkernel
