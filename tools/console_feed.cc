#include "tools/console_feed.h"

#include <algorithm>

namespace dvm::tools {

void ConsoleFeed::append(std::span<const char> bytes) {
  const std::lock_guard guard(mutex_);
  for (const char c : bytes) data_[end_++ % kBytes] = c;
}

ConsoleFeed::Part ConsoleFeed::read(u64& cursor, std::size_t max) const {
  const std::lock_guard guard(mutex_);
  Part part;
  u64 from = std::min(cursor, end_);
  if (from < oldest()) {
    part.lost = oldest() - from;
    from = oldest();
  }
  const std::size_t n = std::min<u64>(max, end_ - from);
  const std::size_t at = from % kBytes, first = std::min(n, kBytes - at);
  part.text.reserve(n);
  part.text.append(data_, at, first).append(data_, 0, n - first);
  cursor = from + n;
  return part;
}

u64 ConsoleFeed::back(std::size_t bytes) const {
  const std::lock_guard guard(mutex_);
  const u64 from = std::max(oldest(), end_ > bytes ? end_ - bytes : 0);
  if (from == 0 || bytes == 0) return from;
  for (u64 n = from; n < end_; ++n) {
    if (data_[(n - 1) % kBytes] == '\n') return n;
  }
  return from;
}

}  // namespace dvm::tools
