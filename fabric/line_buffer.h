// The hand-over layer: how the content of a record gets to the pool before the word that publishes
// it. On memory that is coherent between hosts a store is there at once. On memory that is not, it
// is in the writer's cache until it is written back, and a host that dies takes it along; a cache
// may also write any of its lines back earlier, in any order.
//
// Here a LineBuffer is that cache when lines are to be lost (dvm-fault lost-lines, tests), and
// nothing otherwise. Protocol: store the content, write_back(), then publish by an atomic word of
// the coherent region. The writer does not read the content back before it has published it.
#pragma once

#include <array>
#include <atomic>
#include <string_view>

#include "fabric/types.h"

namespace dvm::fabric {

// The point at which content is complete and none of it is written back (failpoint.h).
inline constexpr std::string_view kLinesStaged = "lines.staged";

// Whose lines are staged: a set of bits by stable id in the pool; `self` is this process. With an
// `eviction_seed` other than 0 some lines are written back early, a choice that repeats with the
// seed. Before, and with null: nobody's. The word must outlive its being watched.
void watch_staging(const std::atomic<u64>* staged, u32 self, u64 eviction_seed = 0);

namespace detail {
extern std::atomic<const std::atomic<u64>*> staged_word;
extern std::atomic<u64> own_staged_bit;
inline bool staging() {
  const u64 staged = staged_word.load(std::memory_order_relaxed)->load(std::memory_order_relaxed);
  return staged != 0 &&  // nobody's, as always but in tests
         (staged & own_staged_bit.load(std::memory_order_relaxed)) != 0;
}
}  // namespace detail

// Content on its way to the pool. Threads: one; made on the stack of who writes a record. What is
// not written back when it is destroyed, or its process dies, never was.
class LineBuffer {
 public:
  static constexpr u64 kLineBytes = 64;
  static constexpr u32 kWords = 16;  // more: the oldest line is written back early

  LineBuffer() : staging_(detail::staging()) {}
  LineBuffer(const LineBuffer&) = delete;
  LineBuffer& operator=(const LineBuffer&) = delete;

  void store(std::atomic<u64>& word, u64 value) {
    if (!staging_) [[likely]]
      return word.store(value, std::memory_order_relaxed);
    stage({&word, nullptr, value});
  }
  void store(std::atomic<u32>& word, u32 value) {
    if (!staging_) [[likely]]
      return word.store(value, std::memory_order_relaxed);
    stage({nullptr, &word, value});
  }
  void write_back() {
    if (staging_) [[unlikely]]
      write_back_all();
  }

 private:
  struct Word {
    std::atomic<u64>* wide;
    std::atomic<u32>* narrow;
    u64 value;
    u64 line() const;
    void arrive() const;
  };
  void stage(const Word& word);
  void evict(u64 line);
  void write_back_all();

  const bool staging_;
  u32 count_ = 0;
  std::array<Word, kWords> words_;  // the first count_ are there
};

}  // namespace dvm::fabric
