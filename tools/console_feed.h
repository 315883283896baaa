// What the guest's console has printed of late, for all who look on.
#pragma once

#include <mutex>
#include <span>
#include <string>

#include "fabric/types.h"

namespace dvm::tools {

// How much of what was printed before one who comes is shown, unless it says otherwise.
inline constexpr u64 kDefaultHistory = 16 * kKiB;

// The last kBytes of output; byte n of all that was ever printed has number n. Each reader has a
// cursor of its own and is never waited for: what it did not take in time is lost to it, and it is
// told how much. Threads: any.
class ConsoleFeed {
 public:
  static constexpr std::size_t kBytes = 256 * kKiB;

  struct Part {
    u64 lost = 0;  // bytes between the cursor and `text` that are gone
    std::string text;
  };

  ConsoleFeed() : data_(kBytes, '\0') {}
  void append(std::span<const char> bytes);
  // The next at most `max` bytes; moves `cursor` behind them.
  Part read(u64& cursor, std::size_t max) const;
  // Where to begin for one who wants to see the last `bytes` of output: at a line's start, if there
  // is one among them.
  u64 back(std::size_t bytes) const;

 private:
  u64 oldest() const { return end_ > kBytes ? end_ - kBytes : 0; }

  mutable std::mutex mutex_;
  std::string data_;  // byte n at n % kBytes
  u64 end_ = 0;
};

}  // namespace dvm::tools
