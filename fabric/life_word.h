// A word in the pool that says whether one thread lives. The kernel itself writes the death into
// it, when the thread stops and before it tears the process's memory down, so that the news does
// not wait for gigabytes to be unmapped (futex(2), "robust futexes"; Linux
// Documentation/locking/robust-futex-ABI.rst).
//
// The list that the kernel walks has one entry, in the thread's private memory; `futex_offset`
// leads from it to the word. No pointer stands in the pool.
#pragma once

#include <linux/futex.h>

#include <atomic>
#include <memory>
#include <optional>
#include <span>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::fabric {

// 0: free. TID | FUTEX_WAITERS: that thread lives. FUTEX_OWNER_DIED set: it runs no more, or nobody
// may take the word any more. Written by its thread and the kernel, and closed by close_life_word.
struct LifeWord {
  std::atomic<u32> value;
};
static_assert(sizeof(LifeWord) == 4 && std::atomic<u32>::is_always_lock_free);

constexpr bool life_stopped(u32 value) { return (value & FUTEX_OWNER_DIED) != 0; }
constexpr bool life_running(u32 value) { return value != 0 && !life_stopped(value); }

// Closes a free word, so that no thread can register in it any more. True when no thread runs under
// the word: it was closed or dead. A word whose thread lives is left alone.
bool close_life_word(LifeWord& word);

// The calling thread's registration. It uses the thread's robust list, so that thread must hold no
// robust pthread mutex when it registers (an error) nor take one until it has left (then that
// mutex's owner death goes unnoticed); glibc's own list is put back by the destructor.
//
// Death: before the word is written nobody knows of the thread; from that store on the kernel
// writes the death. The destructor frees the word first, so that what follows is not seen as a
// death.
class LifeRegistration {
 public:
  // Takes `word`, which must be free. Errors: the word is taken or closed; the thread is registered
  // already or holds a robust mutex; the kernel has no robust lists.
  static Result<std::unique_ptr<LifeRegistration>> enter(LifeWord& word);
  ~LifeRegistration();  // on the registered thread
  LifeRegistration(const LifeRegistration&) = delete;
  LifeRegistration& operator=(const LifeRegistration&) = delete;

  const LifeWord& word() const { return word_; }

 private:
  LifeRegistration(LifeWord& word, robust_list_head* former);

  LifeWord& word_;
  robust_list_head* const former_;
  robust_list entry_;
  robust_list_head head_;
};

// One word to wait for: it is waited for as long as it holds `seen`.
struct WordWait {
  const std::atomic<u32>* word;
  u32 seen;
};
inline constexpr u32 kMaxWordWaits = 128;  // FUTEX_WAITV_MAX

// Sleeps until one of the words no longer holds what was seen, a signal arrives, or CLOCK_MONOTONIC
// reaches `deadline_ns`; spurious returns happen. At most kMaxWordWaits words are looked at.
// Threads: any. The kernel wakes one waiter of a dead thread's word only: a second waiter needs a
// deadline. Where futex_waitv(2) is missing (Linux < 5.16) the words are polled every 200 us.
void wait_any(std::span<const WordWait> words, std::optional<u64> deadline_ns);

namespace detail {
void poll_instead_of_waitv(bool poll);  // for tests
}

}  // namespace dvm::fabric
