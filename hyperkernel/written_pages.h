// Which pages of RAM this process may write in the epoch that runs. All others are protected in its
// view (userfaultfd, write-protect mode): a write waits until the page has been saved (undo_log.h).
//
// A fault costs many times what a copy does (fault_cost.h), so some copies are made on suspicion:
//   - A page that is written again soon stays writable. It is saved ahead when an epoch ends, for
//     the next one, and protected again once it was found unchanged for some epochs. Soon is before
//     an eighth of a fault's cost has been spent on copies: most of what is not written for a while
//     is not written for long, and the guest stands still for it.
//   - With a page go those of the block around it, and with a walk through memory the next ones.
//     How large a block is follows, for each 2 MiB, from how many of its pages were written indeed:
//     it grows while that saves twice what it costs, and shrinks when it saves less.
// What became of a suspicion is looked at once the guest runs again (review).
//
// Pages are numbered by their place in RAM: the frames of the parts of it, one after the other.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "hyperkernel/fault_cost.h"
#include "hyperkernel/guest_memory.h"
#include "hyperkernel/undo_log.h"
#include "hyperkernel/userfault.h"

namespace dvm::hyperkernel {

class WrittenPages {
 public:
  // Protects all of the view, which outlives it. `fault`: what one costs, in copies of a page.
  // Errors name the reason.
  static Result<std::unique_ptr<WrittenPages>> watch(const fabric::Pool& pool,
                                                     const GuestMemory& view,
                                                     u32 fault = copies_for_a_fault());
  ~WrittenPages();  // nothing is protected any more
  WrittenPages(const WrittenPages&) = delete;
  WrittenPages& operator=(const WrittenPages&) = delete;

  // Where writes that wait are read from (uffd_msg).
  const Fd& faults() const { return user_.fd(); }
  // The page at this address of the view is saved in `epoch` and writable. Error: it is not of the
  // view, or the log is full. Under `lock`, which the caller holds while `epoch` is the one that
  // runs.
  Status admit(u32 epoch, u64 address);
  // The epoch is over, and nobody writes: what was written in it is protected, but for the pages
  // that stay writable, which are saved for `next`. Under `lock`. `epoch` may go on nevertheless.
  Status protect(u32 epoch, u32 next);
  // Learns from the epoch that was ended last, as long as `go_on` says so. Takes `lock` now and
  // then, and the processor for a small part of the time: an urgent thread may.
  void review(const std::function<bool()>& go_on);
  std::mutex& lock() { return lock_; }

  u64 writable() const { return writable_.size(); }

 private:
  struct Page {
    u32 last_written = 0;  // the epoch, as far as is known
    u32 sum = 0;           // of page_sum, when it was looked at, of one that stays writable
    bool stays = false;
    bool writable = false;  // here and now
    bool guessed = false;   // on suspicion, in this epoch
  };
  struct Chunk {
    u8 block = 6;  // 2^n pages
    u8 guessed = 0, hit = 0;
  };
  struct Run {
    u64 first, end;
  };
  WrittenPages(UndoLog log, const GuestMemory& view, u32 fault)
      : fault_(fault), soon_(std::max(fault / 8, 4u)), log_(std::move(log)), view_(view) {}
  std::byte* address(u64 page) const;
  std::optional<u64> page_at(u64 address) const;
  Run run_at(u64 page);
  void note_writable(u32 epoch, u64 page, bool guessed);
  Status protect_runs(std::vector<u32>& pages);
  void review(u32 page);

  std::mutex lock_;
  const u32 fault_;
  const u32 soon_;  // epochs
  UndoLog log_;
  const GuestMemory& view_;
  Userfault user_;
  std::vector<Page> pages_;
  std::vector<Chunk> chunks_;
  std::vector<u32> writable_;
  std::vector<u32> to_review_;  // of epoch `ended_`
  u32 ended_ = 0;
  u64 guesses_ = 0;               // in the epoch that ended last
  u64 next_ = ~u64{0}, run_ = 1;  // where a walk would go on, and how long its last step was
};

}  // namespace dvm::hyperkernel
