#include "hyperkernel/written_pages.h"

#include <algorithm>
#include <cstring>

namespace dvm::hyperkernel {
namespace {

// Twice written within so many epochs: it stays writable, until it was not changed in as many. A
// copy costs a tenth of a fault at most.
constexpr u32 kSoon = 16;
constexpr u64 kLongestRun = 64, kFirstTouch = 16;

}  // namespace

Result<std::unique_ptr<WrittenPages>> WrittenPages::watch(const fabric::Pool& pool,
                                                          const GuestMemory& view) {
  DVM_ASSIGN(UndoLog log, UndoLog::of(pool));
  if (view.total_bytes() != log.pages() * kPageBytes)
    return error("pool {}: the undo log is not of this RAM", pool.name());
  std::unique_ptr<WrittenPages> pages(new WrittenPages(std::move(log), view));
  DVM_ASSIGN(pages->user_, Userfault::make_for_writes());
  pages->pages_.resize(pages->log_.pages());
  for (const RamRange& range : view.ranges()) {
    const auto at = reinterpret_cast<u64>(range.host);
    DVM_TRY(pages->user_.watch_writes(at, range.bytes));
    errno = pages->user_.protect(at, range.bytes, true);
    if (errno != 0) return sys_error("UFFDIO_WRITEPROTECT guest memory");
  }
  return pages;
}

WrittenPages::~WrittenPages() {
  for (const RamRange& range : view_.ranges())
    user_.protect(reinterpret_cast<u64>(range.host), range.bytes, false);
}

std::byte* WrittenPages::address(u64 page) const { return page_of_ram(view_, page).data(); }

std::optional<u64> WrittenPages::page_at(u64 address) const {
  u64 before = 0;
  for (const RamRange& range : view_.ranges()) {
    const auto at = reinterpret_cast<u64>(range.host);
    if (address >= at && address - at < range.bytes) return (before + address - at) / kPageBytes;
    before += range.bytes;
  }
  return std::nullopt;
}

// A page, and who walks through memory gets the next ones with it, as does who is the first to
// write there at all: a boot would be faults for the most part.
Status WrittenPages::admit(u32 epoch, u64 where) {
  const auto first = page_at(where);
  if (!first) return error("a write outside the view of RAM at {:#x}", where);
  run_ = *first == next_ ? std::min(2 * run_, kLongestRun) : 1;
  const u64 most = pages_[*first].last_fault == 0 ? std::max(run_, kFirstTouch) : run_;
  std::byte* const at = address(*first);
  u64 count = 0;
  for (; count < most && *first + count < pages_.size(); ++count) {
    if (address(*first + count) != at + count * kPageBytes) break;
    if (count != 0 && is_writable(epoch, *first + count)) break;
    if (count >= run_ && pages_[*first + count].last_fault != 0) break;
    if (!log_.capture(epoch, *first + count, at + count * kPageBytes))
      return error("the undo log is full");
    note_writable(epoch, *first + count);
  }
  next_ = *first + count;
  errno = user_.protect(reinterpret_cast<u64>(at), count * kPageBytes, false);
  return errno == 0 || errno == ESRCH ? Status() : sys_error("UFFDIO_WRITEPROTECT a page");
}

bool WrittenPages::is_writable(u32 epoch, u64 page) const {
  return pages_[page].stays || pages_[page].last_fault == epoch;
}

void WrittenPages::note_writable(u32 epoch, u64 page) {
  Page& p = pages_[page];
  if (p.last_fault == epoch) return;
  p = {.last_fault = epoch,
       .unchanged = 0,
       .stays = p.last_fault != 0 && epoch - p.last_fault <= kSoon};
  writable_.push_back(static_cast<u32>(page));
}

bool WrittenPages::stays(u32 epoch, u32 page) {
  Page& p = pages_[page];
  if (!p.stays) return false;
  const std::byte* before = log_.image(epoch, page);
  const bool same = before != nullptr && std::memcmp(before, address(page), kPageBytes) == 0;
  p.unchanged = same ? static_cast<u8>(p.unchanged + 1) : u8{0};
  p.stays = p.unchanged < kSoon;
  if (!same) p.last_fault = epoch;
  return p.stays;
}

Status WrittenPages::protect_runs(std::vector<u32>& pages) {
  std::ranges::sort(pages);
  for (std::size_t first = 0; first < pages.size();) {
    std::byte* const at = address(pages[first]);
    std::size_t end = first + 1;
    while (end < pages.size() && address(pages[end]) == at + (end - first) * kPageBytes) ++end;
    errno = user_.protect(reinterpret_cast<u64>(at), (end - first) * kPageBytes, true);
    if (errno != 0) return sys_error("UFFDIO_WRITEPROTECT guest memory");
    first = end;
  }
  return {};
}

Result<u32> WrittenPages::protect(u32 epoch, std::span<u32> hot) {
  std::vector<u32> cold, kept;
  for (const u32 page : writable_) {
    if (kept.size() < hot.size() && stays(epoch, page)) {
      kept.push_back(page);
    } else {
      pages_[page].stays = false;
      cold.push_back(page);
    }
  }
  DVM_TRY(protect_runs(cold));
  std::ranges::copy(kept, hot.begin());
  writable_ = std::move(kept);
  return static_cast<u32>(writable_.size());
}

}  // namespace dvm::hyperkernel
