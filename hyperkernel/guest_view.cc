#include "hyperkernel/guest_view.h"

#include <sys/mman.h>

namespace dvm::hyperkernel {
namespace {

Status map_part(const Mapping& at, const fabric::Pool& pool, const fabric::RegionHeader& frames,
                const PageDirectory& directory, const RamPart& part, u64 shift) {
  const u64 pages = part.bytes / kPageBytes;
  const u64 frame_count = frames.bytes / kPageBytes - shift;
  for (u64 done = 0; done < pages;) {
    DVM_ASSIGN(const FrameRun run,
               directory.run_at(part.offset / kPageBytes + done, pages - done, frame_count));
    if (run.pages == 0)
      return error("page directory: ends at page {}", part.offset / kPageBytes + done);
    DVM_TRY(at.map_at(done * kPageBytes, pool.fd(),
                      frames.offset + (run.frame + shift) * kPageBytes, run.pages * kPageBytes,
                      pool.name()));
    done += run.pages;
  }
  // Advice only: without huge pages the guest runs all the same, with more second-level faults.
  ::madvise(at.data(), at.size(), MADV_HUGEPAGE);
  ::madvise(at.data(), at.size(), MADV_DONTDUMP);
  return {};
}

}  // namespace

Result<GuestView> GuestView::map(const fabric::Pool& pool, const PageDirectory& directory,
                                 const std::vector<RamPart>& parts, u64 shift) {
  DVM_ASSIGN(const auto frames, pool.region_header(fabric::RegionKind::frames, 1));
  GuestView view;
  std::vector<RamRange> ranges;
  for (const RamPart& part : parts) {
    DVM_ASSIGN(Mapping mapping, Mapping::reserve(part.bytes, kGiB));
    DVM_TRY(map_part(mapping, pool, frames, directory, part, shift));
    ranges.push_back({part.gpa, part.bytes, mapping.data()});
    view.mappings_.push_back(std::move(mapping));
  }
  view.memory_ = GuestMemory(std::move(ranges));
  return view;
}

Status GuestView::map_again(const fabric::Pool& pool, const PageDirectory& directory,
                            const std::vector<RamPart>& parts, u64 shift) const {
  DVM_ASSIGN(const auto frames, pool.region_header(fabric::RegionKind::frames, 1));
  for (std::size_t i = 0; i < parts.size() && i < mappings_.size(); ++i)
    DVM_TRY(map_part(mappings_[i], pool, frames, directory, parts[i], shift));
  return {};
}

GuestView GuestView::over(std::byte* base, const std::vector<RamPart>& parts) {
  std::vector<RamRange> ranges;
  for (const RamPart& part : parts) ranges.push_back({part.gpa, part.bytes, base + part.offset});
  GuestView view;
  view.memory_ = GuestMemory(std::move(ranges));
  return view;
}

}  // namespace dvm::hyperkernel
