// What each page of RAM holds, as a sum: so that a guest that is gone on with after all of its
// processes were lost is not gone on with in memory that is not what it was.
//
// The sums are those of the beginning of the epoch that runs. Pages that have been written in it
// are in the undo log, with sums of their own; when it ends, those of them that the next epoch has
// not saved by then are summed as they are, while the guest runs: a page is read, and counts if
// nobody has saved it since, as nobody writes one that is not saved.
//
// Whoever does that dies in it: then the sums of what the ended epoch wrote are not known. The next
// one begins again, some pages at each end (`below`).
#pragma once

#include "hyperkernel/undo_log.h"

namespace dvm::hyperkernel {

inline constexpr u32 kSumsVersion = 1;

struct SumsHeader {
  u64 pages;
  std::atomic<u64> epoch;  // whose beginning the sums are of, but for what the one before wrote
  std::atomic<u64> below;  // pages up to this one have sums
};

u64 sums_region_bytes(u64 pages);

// Threads: one, of all processes, at a time.
class PageSums {
 public:
  // Once, before `of`: all pages are zero, and epoch 1 runs.
  static Status format(const fabric::Pool& pool, u64 pages);
  // `pool` outlives it; RAM lies in its order from `first_frame` on.
  static Result<PageSums> of(const fabric::Pool& pool, u64 first_frame = 0);

  // `epoch` runs now, as `next` in the undo log, and `ended` is the log's number of the one before.
  void follow(const UndoLog& log, u32 ended, u32 next, u64 epoch, const GuestMemory& ram);
  // While nobody runs the machine: pages that `log` has as saved in `number` are as they should be;
  // all of RAM is; nothing is known of any.
  void sum_saved(const UndoLog& log, u32 number, const GuestMemory& ram);
  void sum_all(const GuestMemory& ram);
  void forget() { header_->below.store(0); }
  // Nobody runs the machine, `epoch` began with this RAM. What cannot be told counts as right:
  // pages that `excused` is true for, and those without a sum.
  Status check(const GuestMemory& ram, const std::function<bool(u64 page)>& excused) const;
  // Of whose beginning the sums are; kAtRest: of RAM as it is.
  u64 epoch() const { return header_->epoch.load(); }
  void set_epoch(u64 epoch) { header_->epoch.store(epoch); }
  static constexpr u64 kAtRest = ~u64{0};

 private:
  PageSums() = default;
  const Fd* file_ = nullptr;  // the pool's
  u64 frames_at_ = 0;         // page n of RAM lies at this + n pages, in this boot
  SumsHeader* header_ = nullptr;
  std::span<u64> sums_;
};

}  // namespace dvm::hyperkernel
