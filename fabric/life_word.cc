#include "fabric/life_word.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <ctime>

#include "fabric/doorbell.h"

namespace dvm::fabric {
namespace {

constexpr u64 kPollNs = 200'000;
std::atomic<bool> no_waitv{false};

timespec to_timespec(u64 ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

u32 own_tid() { return static_cast<u32>(::syscall(SYS_gettid)); }

bool any_moved(std::span<const WordWait> words) {
  return std::any_of(words.begin(), words.end(), [](const WordWait& w) {
    return w.word->load(std::memory_order_acquire) != w.seen;
  });
}

void poll_words(std::span<const WordWait> words, std::optional<u64> deadline_ns) {
  while (!any_moved(words)) {
    const u64 now = monotonic_ns();
    if (deadline_ns && now >= *deadline_ns) return;
    const timespec pause = to_timespec(kPollNs);
    if (::nanosleep(&pause, nullptr) < 0) return;  // a signal
  }
}

}  // namespace

bool close_life_word(LifeWord& word) {
  u32 value = 0;
  if (word.value.compare_exchange_strong(value, FUTEX_OWNER_DIED, std::memory_order_acq_rel))
    return true;
  return life_stopped(value);
}

LifeRegistration::LifeRegistration(LifeWord& word, robust_list_head* former)
    : word_(word), former_(former), entry_{&head_.list}, head_{} {
  head_.list.next = &entry_;
  head_.futex_offset =
      reinterpret_cast<const char*>(&word_.value) - reinterpret_cast<const char*>(&entry_);
}

Result<std::unique_ptr<LifeRegistration>> LifeRegistration::enter(LifeWord& word) {
  robust_list_head* former = nullptr;
  std::size_t length = 0;
  if (::syscall(SYS_get_robust_list, 0, &former, &length) < 0) return sys_error("get_robust_list");
  if (former != nullptr &&
      (former->list.next != &former->list || former->list_op_pending != nullptr)) {
    return error("life word: this thread is registered already, or holds a robust mutex");
  }
  std::unique_ptr<LifeRegistration> life(new LifeRegistration(word, former));
  // The list first: a word that names us must never stand without the kernel knowing of it.
  if (::syscall(SYS_set_robust_list, &life->head_, sizeof(robust_list_head)) < 0)
    return sys_error("set_robust_list");
  u32 free_word = 0;
  if (!word.value.compare_exchange_strong(free_word, own_tid() | FUTEX_WAITERS,
                                          std::memory_order_acq_rel)) {
    return error("life word: taken ({:#x})", free_word);
  }
  return life;
}

LifeRegistration::~LifeRegistration() {
  u32 mine = own_tid() | FUTEX_WAITERS;
  if (word_.value.compare_exchange_strong(mine, 0, std::memory_order_acq_rel))
    ::syscall(SYS_futex, &word_.value, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  ::syscall(SYS_set_robust_list, former_, sizeof(robust_list_head));
}

void wait_any(std::span<const WordWait> words, std::optional<u64> deadline_ns) {
  words = words.first(std::min<std::size_t>(words.size(), kMaxWordWaits));
  if (no_waitv.load(std::memory_order_relaxed)) return poll_words(words, deadline_ns);
  std::array<futex_waitv, kMaxWordWaits> waits;
  for (std::size_t i = 0; i < words.size(); ++i) {
    waits[i] = {words[i].seen, reinterpret_cast<u64>(words[i].word), FUTEX_32, 0};
  }
  const timespec until = to_timespec(deadline_ns.value_or(0));
  const long woken = ::syscall(SYS_futex_waitv, waits.data(), static_cast<unsigned>(words.size()),
                               0, deadline_ns ? &until : nullptr, CLOCK_MONOTONIC);
  if (woken < 0 && errno == ENOSYS) {
    no_waitv.store(true, std::memory_order_relaxed);
    poll_words(words, deadline_ns);
  }
}

namespace detail {
void poll_instead_of_waitv(bool poll) { no_waitv.store(poll); }
}  // namespace detail

}  // namespace dvm::fabric
