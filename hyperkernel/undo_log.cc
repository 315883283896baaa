#include "hyperkernel/undo_log.h"

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "fabric/crc32c.h"
#include "fabric/failpoint.h"
#include "hyperkernel/page_sum.h"

namespace dvm::hyperkernel {
namespace {

using fabric::RegionKind;

constexpr u64 whole_pages(u64 bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }
constexpr u64 slots_for(u64 pages) { return pages + kSpareSlots; }

struct Layout {
  u64 stamps, pages, sums, images, end;  // offsets in the region
};
constexpr Layout layout_of(u64 pages, u32 half) {
  const u64 stamps = half == 0 ? kPageBytes : layout_of(pages, 0).end;
  const u64 slots = stamps + whole_pages(pages * sizeof(u64));
  const u64 sums = slots + whole_pages(slots_for(pages) * sizeof(u32));
  const u64 images = sums + whole_pages(slots_for(pages) * sizeof(u64));
  return {stamps, slots, sums, images, images + slots_for(pages) * kPageBytes};
}

u32 checksum_of(const UndoHeader& header) {
  return fabric::crc32c(std::as_bytes(std::span(&header, 1)).first(offsetof(UndoHeader, taken)));
}

constexpr u64 pack(u32 epoch, u32 number) { return u64{epoch} << 32 | number; }
constexpr u32 epoch_of(u64 word) { return static_cast<u32>(word >> 32); }
constexpr u32 number_of(u64 word) { return static_cast<u32>(word); }

u64 sum_of(const std::byte* image, u32 epoch, u64 gfn) {
  return page_sum(image) ^ pack(epoch, static_cast<u32>(gfn));
}

}  // namespace

u64 undo_region_bytes(u64 pages) { return layout_of(pages, 1).end; }

std::span<std::byte> page_of_ram(const GuestMemory& memory, u64 page) {
  for (const RamRange& range : memory.ranges()) {
    const u64 pages = range.bytes / kPageBytes;
    if (page < pages) return {range.host + page * kPageBytes, kPageBytes};
    page -= pages;
  }
  return {};
}

Status UndoLog::format(const fabric::Pool& pool, u64 pages) {
  DVM_ASSIGN(const auto bytes, pool.region(RegionKind::undo, kUndoVersion));
  if (bytes.size() < undo_region_bytes(pages))
    return error("pool {}: the undo log has no room for {} pages", pool.name(), pages);
  auto* header = std::construct_at(reinterpret_cast<UndoHeader*>(bytes.data()));
  header->pages = pages;
  header->slots = slots_for(pages);
  header->checksum = checksum_of(*header);
  return {};
}

Result<UndoLog> UndoLog::of(const fabric::Pool& pool) {
  DVM_ASSIGN(const auto bytes, pool.region(RegionKind::undo, kUndoVersion));
  DVM_ASSIGN(const auto where, pool.region_header(RegionKind::undo, kUndoVersion));
  auto* header = reinterpret_cast<UndoHeader*>(bytes.data());
  if (bytes.size() < kPageBytes || header->checksum != checksum_of(*header) ||
      header->pages > bytes.size() / kPageBytes || header->slots != slots_for(header->pages) ||
      undo_region_bytes(header->pages) > bytes.size()) {
    return error("pool {}: undo log at offset {:#x}: {} pages do not fit, or a checksum is wrong",
                 pool.name(), where.offset, header->pages);
  }
  UndoLog log;
  log.header_ = header;
  log.file_ = &pool.fd();
  for (u32 i = 0; i < log.halves_.size(); ++i) {
    const Layout at = layout_of(header->pages, i);
    Half& half = log.halves_[i];
    half.stamps = {reinterpret_cast<std::atomic<u64>*>(bytes.data() + at.stamps), header->pages};
    half.pages = {reinterpret_cast<std::atomic<u32>*>(bytes.data() + at.pages), header->slots};
    half.sums = {reinterpret_cast<u64*>(bytes.data() + at.sums), header->slots};
    half.images = bytes.data() + at.images;
    half.images_at = where.offset + at.images;
  }
  return log;
}

// One that this object took and did not need comes first.
std::optional<u32> UndoLog::take_slot(u32 epoch) {
  Half& mine = halves_[epoch % 2];
  if (epoch_of(mine.spare) == epoch) return number_of(std::exchange(mine.spare, 0));
  std::atomic<u64>& taken = header_->taken[epoch % 2];
  u64 seen = taken.load(std::memory_order_acquire);
  for (;;) {
    const u32 next = epoch_of(seen) == epoch ? number_of(seen) : 0;
    if (next >= mine.pages.size()) return std::nullopt;
    if (taken.compare_exchange_weak(seen, pack(epoch, next + 1), std::memory_order_acq_rel))
      return next;
  }
}

const std::byte* UndoLog::image(u32 epoch, u64 gfn) const {
  const Half& from = half(epoch);
  const u64 stamp = from.stamps[gfn].load(std::memory_order_acquire);
  const bool is_there = epoch_of(stamp) == epoch && number_of(stamp) < from.pages.size();
  return is_there ? from.image(number_of(stamp)) : nullptr;
}

bool UndoLog::capture(u32 epoch, u64 gfn, const std::byte* page) {
  Half& to = halves_[epoch % 2];
  u64 stamp = to.stamps[gfn].load(std::memory_order_acquire);
  if (epoch_of(stamp) == epoch) return true;
  const auto slot = take_slot(epoch);
  if (!slot) return false;
  to.pages[*slot].store(static_cast<u32>(gfn), std::memory_order_relaxed);
  std::memcpy(to.images + *slot * kPageBytes, page, kPageBytes);
  to.sums[*slot] = sum_of(to.images + *slot * kPageBytes, epoch, gfn);
  fabric::failpoint("undo.copied");
  if (!to.stamps[gfn].compare_exchange_strong(stamp, pack(epoch, *slot),
                                              std::memory_order_acq_rel)) {
    to.spare = pack(epoch, *slot);
  }
  fabric::failpoint("undo.stamped");
  return true;
}

u64 UndoLog::taken(u32 epoch) const {
  const u64 word = header_->taken[epoch % 2].load(std::memory_order_acquire);
  return epoch_of(word) == epoch ? std::min<u64>(number_of(word), half(epoch).pages.size()) : 0;
}

void UndoLog::give_back(u32 epoch, u64 but_slots) const {
  const Half& from = half(epoch);
  const u64 kept = std::min<u64>(but_slots, from.pages.size());
  (void)::fallocate(file_->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(from.images_at + kept * kPageBytes),
                    static_cast<off_t>((from.pages.size() - kept) * kPageBytes));
}

// A stamp names a slot that is whole. And a slot that is whole, and whose page has no stamp of this
// epoch, is of one who died before it: then nobody has written the page since, so it is as it was.
Status UndoLog::check(u32 epoch,
                      const std::function<std::span<const std::byte>(u64 page)>& ram) const {
  const Half& from = half(epoch);
  const u64 slots = taken(epoch);
  const auto whole = [&](u64 slot, u64 gfn) {
    return slot < slots && from.pages[slot].load() == gfn &&
           from.sums[slot] == sum_of(from.image(slot), epoch, gfn);
  };
  for (u64 gfn = 0; gfn < pages(); ++gfn) {
    const u64 stamp = from.stamps[gfn].load();
    if (epoch_of(stamp) == epoch && !whole(number_of(stamp), gfn))
      return error("undo log: page {} is not what was saved of it", gfn);
  }
  for (u64 slot = 0; slot < slots; ++slot) {
    const u64 gfn = from.pages[slot].load();
    if (gfn >= pages() || epoch_of(from.stamps[gfn].load()) == epoch || !whole(slot, gfn)) continue;
    const auto now = ram(gfn);
    if (now.size() != kPageBytes || std::memcmp(now.data(), from.image(slot), kPageBytes) != 0)
      return error("undo log: page {} was saved, and its stamp does not say so", gfn);
  }
  return {};
}

// A slot may name a page whose stamp names another slot, or that of an epoch long gone.
void UndoLog::each(u32 epoch,
                   const std::function<void(u64 gfn, const std::byte* image)>& visit) const {
  const Half& from = half(epoch);
  const u64 slots = taken(epoch);
  for (u64 slot = 0; slot < slots; ++slot) {
    const u64 gfn = from.pages[slot].load(std::memory_order_relaxed);
    if (gfn >= from.stamps.size()) continue;
    if (from.stamps[gfn].load(std::memory_order_acquire) != pack(epoch, static_cast<u32>(slot)))
      continue;
    visit(gfn, from.image(slot));
  }
}

u64 UndoLog::put_back(u32 epoch, const GuestMemory& ram) const {
  u64 count = 0;
  each(epoch, [&](u64 page, const std::byte* image) {
    const auto to = page_of_ram(ram, page);
    if (to.empty()) return;
    std::ranges::copy(std::span(image, kPageBytes), to.begin());
    ++count;
  });
  return count;
}

}  // namespace dvm::hyperkernel
