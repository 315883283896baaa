#include "hyperkernel/origin_record.h"

#include <algorithm>
#include <bit>

namespace dvm::hyperkernel {
namespace {

using fabric::RegionKind;

constexpr u64 words_for(u64 pages) { return (pages + 63) / 64; }

}  // namespace

u64 origin_region_bytes(u64 pages) {
  return align_up(kPageBytes + words_for(pages) * sizeof(u64), kPageBytes);
}

Status check_record(const OriginRecord& record, const fabric::RecordPlace& place) {
  if (record.files >= 1 && record.files <= kMaxOriginFiles) return {};
  return place.wrong(&record.files, "{} files; allowed: 1 to {}", record.files, kMaxOriginFiles);
}

Result<OriginRecord*> OriginPages::format(const fabric::Pool& pool, u64 pages) {
  DVM_ASSIGN(auto* const record, pool.new_record<OriginRecord>(RegionKind::origin, kOriginVersion));
  std::construct_at(record);
  record->pages = pages;
  return record;
}

Result<OriginPages> OriginPages::of(const fabric::Pool& pool) {
  DVM_ASSIGN(auto* const record, pool.record<OriginRecord>(RegionKind::origin, kOriginVersion));
  DVM_ASSIGN(const auto bytes, pool.region(RegionKind::origin, kOriginVersion));
  if (record->pages > bytes.size() * 8 || origin_region_bytes(record->pages) > bytes.size())
    return error("pool {}: marks of {} pages do not fit", pool.name(), record->pages);
  return OriginPages(record, {reinterpret_cast<std::atomic<u64>*>(bytes.data() + kPageBytes),
                              words_for(record->pages)});
}

void OriginPages::settle(u64 first, u64 count) const {
  const u64 last = std::min(first + count, record_->pages);
  while (first < last) {
    const u64 bit = first % 64, bits = std::min(64 - bit, last - first);
    const u64 mask = (bits == 64 ? ~u64{0} : (u64{1} << bits) - 1) << bit;
    words_[first / 64].fetch_or(mask, std::memory_order_release);
    first += bits;
  }
}

u64 OriginPages::count_settled() const {
  u64 count = 0;
  for (const auto& word : words_) count += static_cast<u64>(std::popcount(word.load()));
  return count;
}

}  // namespace dvm::hyperkernel
