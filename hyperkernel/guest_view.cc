#include "hyperkernel/guest_view.h"

#include <sys/mman.h>

namespace dvm::hyperkernel {
namespace {

Status map_part(const Mapping& at, const fabric::Pool& pool, const fabric::RegionHeader& frames,
                const PageDirectory& directory, const RamPart& part) {
  const u64 pages = part.bytes / kPageBytes;
  for (u64 done = 0; done < pages;) {
    DVM_ASSIGN(const FrameRun run, directory.run_at(part.offset / kPageBytes + done, pages - done,
                                                    frames.bytes / kPageBytes));
    if (run.pages == 0)
      return error("page directory: ends at page {}", part.offset / kPageBytes + done);
    DVM_TRY(at.map_at(done * kPageBytes, pool.fd(), frames.offset + run.frame * kPageBytes,
                      run.pages * kPageBytes, pool.name()));
    done += run.pages;
  }
  return {};
}

Status map_part_in_order(const Mapping& at, const fabric::Pool& pool,
                         const fabric::RegionHeader& frames, const RamPart& part, u64 first_frame) {
  const u64 offset = first_frame * kPageBytes + part.offset;
  if (offset > frames.bytes || part.bytes > frames.bytes - offset)
    return error("pool {}: RAM at frame {} does not fit", pool.name(), first_frame);
  return at.map_at(0, pool.fd(), frames.offset + offset, part.bytes, pool.name());
}

// Advice only: without huge pages the guest runs all the same, with more second-level faults.
void advise(const Mapping& at) {
  ::madvise(at.data(), at.size(), MADV_HUGEPAGE);
  ::madvise(at.data(), at.size(), MADV_DONTDUMP);
}

}  // namespace

Result<GuestView> GuestView::map_parts(
    const std::vector<RamPart>& parts,
    const std::function<Status(const Mapping& at, const RamPart& part)>& map_one) {
  GuestView view;
  std::vector<RamRange> ranges;
  for (const RamPart& part : parts) {
    DVM_ASSIGN(Mapping mapping, Mapping::reserve(part.bytes, kGiB));
    DVM_TRY(map_one(mapping, part));
    advise(mapping);
    ranges.push_back({part.gpa, part.bytes, mapping.data()});
    view.mappings_.push_back(std::move(mapping));
  }
  view.memory_ = GuestMemory(std::move(ranges));
  return view;
}

Result<GuestView> GuestView::map(const fabric::Pool& pool, const PageDirectory& directory,
                                 const std::vector<RamPart>& parts) {
  DVM_ASSIGN(const auto frames, pool.region_header(fabric::RegionKind::frames, 1));
  return map_parts(parts, [&](const Mapping& at, const RamPart& part) {
    return map_part(at, pool, frames, directory, part);
  });
}

Result<GuestView> GuestView::map_in_order(const fabric::Pool& pool,
                                          const std::vector<RamPart>& parts, u64 first_frame) {
  DVM_ASSIGN(const auto frames, pool.region_header(fabric::RegionKind::frames, 1));
  return map_parts(parts, [&](const Mapping& at, const RamPart& part) {
    return map_part_in_order(at, pool, frames, part, first_frame);
  });
}

GuestView GuestView::over(std::byte* base, const std::vector<RamPart>& parts) {
  std::vector<RamRange> ranges;
  for (const RamPart& part : parts) ranges.push_back({part.gpa, part.bytes, base + part.offset});
  GuestView view;
  view.memory_ = GuestMemory(std::move(ranges));
  return view;
}

}  // namespace dvm::hyperkernel
