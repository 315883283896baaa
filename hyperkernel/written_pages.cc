#include "hyperkernel/written_pages.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "hyperkernel/page_sum.h"

namespace dvm::hyperkernel {
namespace {

// Every so many epochs a page that stays writable is looked at.
constexpr u32 kLookEvery = 8;
// So many stay writable at most: the guest stands still while they are copied.
constexpr std::size_t kMostHot = 8192;
constexpr u64 kLongestRun = 64;
// Two pages are the smallest block: else nothing would be guessed, nor learned.
constexpr u64 kChunkPages = 512;
constexpr u8 kLeastBlock = 1, kMostBlock = 9, kGuessesToLearn = 32;
// Writes wait for the lock meanwhile. Of more guesses in an epoch some are looked at.
constexpr std::size_t kReviewAtOnce = 16, kMostReviewed = 2048;
// So many times as long as a look took nobody looks.
constexpr int kRest = 9;

}  // namespace

Result<std::unique_ptr<WrittenPages>> WrittenPages::watch(const fabric::Pool& pool,
                                                          const GuestMemory& view, u32 fault) {
  DVM_ASSIGN(UndoLog log, UndoLog::of(pool));
  if (view.total_bytes() != log.pages() * kPageBytes)
    return error("pool {}: the undo log is not of this RAM", pool.name());
  std::unique_ptr<WrittenPages> pages(new WrittenPages(std::move(log), view, fault));
  DVM_ASSIGN(pages->user_, Userfault::make_for_writes());
  pages->pages_.resize(pages->log_.pages());
  pages->chunks_.resize(pages->log_.pages() / kChunkPages + 1);
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

// What becomes writable with a page, of its part of RAM.
WrittenPages::Run WrittenPages::run_at(u64 page) {
  run_ = page == next_ ? std::min(2 * run_, kLongestRun) : 1;
  const u64 block = u64{1} << chunks_[page / kChunkPages].block;
  u64 first = page / block * block, end = std::max(first + block, page + run_);
  u64 before = 0;
  for (const RamRange& range : view_.ranges()) {
    const u64 after = before + range.bytes / kPageBytes;
    if (page < after) {
      first = std::max(first, before);
      end = std::min(end, after);
      break;
    }
    before = after;
  }
  next_ = end;
  return {first, end};
}

Status WrittenPages::admit(u32 epoch, u64 where) {
  const auto page = page_at(where);
  if (!page) return error("a write outside the view of RAM at {:#x}", where);
  const Run run = run_at(*page);
  for (u64 i = run.first; i < run.end; ++i) {
    if (pages_[i].writable) continue;
    if (!log_.capture(epoch, i, address(i))) return error("the undo log is full");
    note_writable(epoch, i, i != *page);
  }
  errno = user_.protect(reinterpret_cast<u64>(address(run.first)),
                        (run.end - run.first) * kPageBytes, false);
  return errno == 0 || errno == ESRCH ? Status() : sys_error("UFFDIO_WRITEPROTECT a page");
}

void WrittenPages::note_writable(u32 epoch, u64 page, bool guessed) {
  Page& p = pages_[page];
  p.stays = p.last_written != 0 && epoch - p.last_written <= soon_;
  p.writable = true;
  p.guessed = guessed;
  if (!guessed) p.last_written = epoch;
  writable_.push_back(static_cast<u32>(page));
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

Status WrittenPages::protect(u32 epoch, u32 next) {
  std::vector<u32> cold, kept;
  to_review_.clear();
  ended_ = epoch;
  const u64 one_of = guesses_ / kMostReviewed + 1;
  guesses_ = 0;
  for (const u32 page : writable_) {
    Page& p = pages_[page];
    const bool due =
        p.guessed ? guesses_++ % one_of == 0 : p.stays && epoch % kLookEvery == page % kLookEvery;
    if (due) to_review_.push_back(page);
    if (p.stays && kept.size() < kMostHot) {
      if (!log_.capture(next, page, address(page))) return error("the undo log is full");
      kept.push_back(page);
    } else {
      p.stays = p.writable = false;
      cold.push_back(page);
    }
  }
  writable_ = std::move(kept);
  return protect_runs(cold);
}

void WrittenPages::review(const std::function<bool()>& go_on) {
  while (go_on()) {
    const auto begin = std::chrono::steady_clock::now();
    {
      const std::lock_guard guard(lock_);
      if (to_review_.empty()) return;
      for (std::size_t i = 0; i < kReviewAtOnce && !to_review_.empty(); ++i) {
        review(to_review_.back());
        to_review_.pop_back();
      }
    }
    std::this_thread::sleep_for(kRest * (std::chrono::steady_clock::now() - begin));
  }
}

// One that was written since the epoch's end counts as written in it.
void WrittenPages::review(u32 page) {
  Page& p = pages_[page];
  const std::span<const std::byte> now(address(page), kPageBytes);
  if (p.stays && !p.guessed) {
    const u32 sum =
        static_cast<u32>(page_sum(now.data()));  // has it been written since the last look?
    if (sum != p.sum) p.last_written = ended_;
    p.sum = sum;
    p.stays = ended_ - p.last_written <= soon_;
    return;
  }
  const std::byte* before = log_.image(ended_, page);
  const bool same = before != nullptr && std::memcmp(before, now.data(), kPageBytes) == 0;
  if (!same) p.last_written = ended_;
  p.guessed = false;
  Chunk& chunk = chunks_[page / kChunkPages];
  ++chunk.guessed;
  chunk.hit = static_cast<u8>(chunk.hit + (same ? 0 : 1));
  if (chunk.guessed < kGuessesToLearn) return;
  const u32 saved = chunk.hit * fault_;  // copies' worth of faults
  if (saved >= 2u * chunk.guessed) chunk.block = std::min<u8>(chunk.block + 1, kMostBlock);
  if (saved < chunk.guessed) chunk.block = std::max<u8>(chunk.block, kLeastBlock + 1) - 1;
  chunk.guessed = chunk.hit = 0;
}

}  // namespace dvm::hyperkernel
