#include "hyperkernel/page_sums.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "hyperkernel/file_pages.h"
#include "hyperkernel/page_sum.h"

namespace dvm::hyperkernel {
namespace {

using fabric::RegionKind;

// At each end of an epoch, of those that have no sum: some milliseconds.
constexpr u64 kMoreAtOnce = 4096;

}  // namespace

u64 sums_region_bytes(u64 pages) { return align_up(kPageBytes + pages * sizeof(u64), kPageBytes); }

Status PageSums::format(const fabric::Pool& pool, u64 pages) {
  DVM_ASSIGN(const auto bytes, pool.region(RegionKind::sums, kSumsVersion));
  if (bytes.size() < sums_region_bytes(pages))
    return error("pool {}: no room for the sums of {} pages", pool.name(), pages);
  auto* header = std::construct_at(reinterpret_cast<SumsHeader*>(bytes.data()));
  header->pages = pages;
  header->epoch.store(1);
  header->below.store(pages);
  return {};
}

Result<PageSums> PageSums::of(const fabric::Pool& pool, u64 first_frame) {
  DVM_ASSIGN(const auto bytes, pool.region(RegionKind::sums, kSumsVersion));
  auto* header = reinterpret_cast<SumsHeader*>(bytes.data());
  if (bytes.size() < kPageBytes || header->pages > bytes.size() / sizeof(u64) ||
      sums_region_bytes(header->pages) > bytes.size())
    return error("pool {}: sums of {} pages do not fit", pool.name(), header->pages);
  PageSums sums;
  DVM_ASSIGN(const auto frames, pool.region_header(RegionKind::frames, 1));
  sums.file_ = &pool.fd();
  sums.frames_at_ = frames.offset + first_frame * kPageBytes;
  sums.header_ = header;
  sums.sums_ = {reinterpret_cast<u64*>(bytes.data() + kPageBytes), header->pages};
  return sums;
}

void PageSums::follow(const UndoLog& log, u32 ended, u32 next, u64 epoch, const GuestMemory& ram) {
  // Somebody died before the sums of the epoch before were done, and what it wrote is forgotten.
  if (header_->epoch.load() + 1 != epoch) header_->below.store(0);
  const u64 below = std::min<u64>(header_->below.load(), sums_.size());
  const auto sum = [&](u64 page, bool data) {
    const auto now = page_of_ram(ram, page);
    if (now.empty() || log.image(next, page) != nullptr) return;
    const u64 there = data ? page_sum(now.data()) : 0;
    if (log.image(next, page) == nullptr) sums_[page] = there;
  };
  log.each(ended, [&](u64 page, const std::byte*) {
    if (page < below) sum(page, true);
  });
  const u64 more = std::min<u64>(below + kMoreAtOnce, sums_.size());
  each_page(*file_, frames_at_, below, more, sum);
  header_->below.store(more);
  header_->epoch.store(epoch);
}

void PageSums::sum_saved(const UndoLog& log, u32 number, const GuestMemory& ram) {
  log.each(number, [&](u64 page, const std::byte*) {
    const auto now = page_of_ram(ram, page);
    if (!now.empty() && page < sums_.size()) sums_[page] = page_sum(now.data());
  });
}

void PageSums::sum_all(const GuestMemory& ram) {
  each_page(*file_, frames_at_, 0, sums_.size(), [&](u64 page, bool data) {
    const auto now = page_of_ram(ram, page);
    sums_[page] = data && !now.empty() ? page_sum(now.data()) : 0;
  });
  header_->below.store(sums_.size());
}

Status PageSums::check(const GuestMemory& ram, const std::function<bool(u64 page)>& excused) const {
  std::optional<u64> wrong;
  const u64 below = std::min<u64>(header_->below.load(), sums_.size());
  each_page(*file_, frames_at_, 0, below, [&](u64 page, bool data) {
    const auto now = page_of_ram(ram, page);
    if (wrong || now.empty()) return;
    if ((data ? page_sum(now.data()) : 0) != sums_[page] && !excused(page)) wrong = page;
  });
  if (wrong) return error("memory: page {} is not what it was", *wrong);
  return {};
}

}  // namespace dvm::hyperkernel
