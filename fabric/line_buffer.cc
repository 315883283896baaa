#include "fabric/line_buffer.h"

#include "fabric/failpoint.h"

namespace dvm::fabric {
namespace {

constinit std::atomic<u64> unstaged{0};
std::atomic<u64> eviction_state{0};  // 0: nothing is written back early

// Xorshift64 (Marsaglia 2003).
bool evicts_one() {
  u64 x = eviction_state.load(std::memory_order_relaxed);
  if (x == 0) return false;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  eviction_state.store(x, std::memory_order_relaxed);
  return (x >> 60) < 6;
}

}  // namespace

namespace detail {

constinit std::atomic<const std::atomic<u64>*> staged_word{&unstaged};
constinit std::atomic<u64> own_staged_bit{0};

}  // namespace detail

void watch_staging(const std::atomic<u64>* staged, u32 self, u64 eviction_seed) {
  detail::own_staged_bit.store(u64{1} << (self % 64));
  eviction_state.store(eviction_seed);
  detail::staged_word.store(staged != nullptr ? staged : &unstaged);
}

u64 LineBuffer::Word::line() const {
  const void* at = wide != nullptr ? static_cast<const void*>(wide) : narrow;
  return reinterpret_cast<std::uintptr_t>(at) / kLineBytes;
}

void LineBuffer::Word::arrive() const {
  if (wide != nullptr) {
    wide->store(value, std::memory_order_relaxed);
  } else {
    narrow->store(static_cast<u32>(value), std::memory_order_relaxed);
  }
}

void LineBuffer::stage(const Word& word) {
  if (count_ == kWords) evict(words_[0].line());
  words_[count_++] = word;
  if (evicts_one()) evict(words_[count_ / 2].line());
}

// A line goes as a whole: all that was stored in it so far.
void LineBuffer::evict(u64 line) {
  u32 kept = 0;
  for (u32 i = 0; i < count_; ++i) {
    if (words_[i].line() == line) {
      words_[i].arrive();
    } else {
      words_[kept++] = words_[i];
    }
  }
  count_ = kept;
}

void LineBuffer::write_back_all() {
  failpoint(kLinesStaged);
  while (count_ != 0) evict(words_[0].line());
}

}  // namespace dvm::fabric
