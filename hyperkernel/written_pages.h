// Which pages of RAM this process may write in the epoch that runs. All others are protected in its
// view (userfaultfd, write-protect mode): a write waits until the page has been saved (undo_log.h).
//
// A page that is written again soon stays writable; it is saved ahead when an epoch begins, which
// costs a copy and no fault. It is protected again once it was found unchanged for some epochs.
//
// Pages are numbered by their place in RAM: the frames of the parts of it, one after the other.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "hyperkernel/guest_memory.h"
#include "hyperkernel/undo_log.h"
#include "hyperkernel/userfault.h"

namespace dvm::hyperkernel {

class WrittenPages {
 public:
  // Protects all of the view, which outlives it. Errors name the reason.
  static Result<std::unique_ptr<WrittenPages>> watch(const fabric::Pool& pool,
                                                     const GuestMemory& view);
  ~WrittenPages();  // nothing is protected any more
  WrittenPages(const WrittenPages&) = delete;
  WrittenPages& operator=(const WrittenPages&) = delete;

  // Where writes that wait are read from (uffd_msg).
  const Fd& faults() const { return user_.fd(); }
  // The page at this address of the view is saved in `epoch` and writable. Error: it is not of the
  // view, or the log is full. Under `lock`, which the caller holds while `epoch` is the one that
  // runs.
  Status admit(u32 epoch, u64 address);
  // The epoch is over: what was written in it is protected, but for the pages that stay writable,
  // of which the numbers are left in `hot`, at most hot.size() of them. How many those are. Under
  // `lock`.
  Result<u32> protect(u32 epoch, std::span<u32> hot);
  std::mutex& lock() { return lock_; }

  u64 writable() const { return writable_.size(); }

 private:
  struct Page {
    u32 last_fault = 0;  // the epoch
    u8 unchanged = 0;    // epochs, of one that stays writable
    bool stays = false;
  };
  WrittenPages(UndoLog log, const GuestMemory& view) : log_(std::move(log)), view_(view) {}
  std::byte* address(u64 page) const;
  std::optional<u64> page_at(u64 address) const;
  bool is_writable(u32 epoch, u64 page) const;
  void note_writable(u32 epoch, u64 page);
  bool stays(u32 epoch, u32 page);
  Status protect_runs(std::vector<u32>& pages);

  std::mutex lock_;
  UndoLog log_;
  const GuestMemory& view_;
  Userfault user_;
  std::vector<Page> pages_;
  std::vector<u32> writable_;     // here and now
  u64 next_ = ~u64{0}, run_ = 1;  // where a walk would go on, and how long its last step was
};

}  // namespace dvm::hyperkernel
