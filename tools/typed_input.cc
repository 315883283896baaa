#include "tools/typed_input.h"

#include <algorithm>

namespace dvm::tools {
namespace {

constexpr u64 kFirstRetryNs = 10'000'000, kLastRetryNs = 320'000'000;

}  // namespace

std::size_t TypedInput::type(std::string_view text) {
  bool held = false;
  std::size_t taken = 0;
  {
    const std::lock_guard guard(mutex_);
    taken = std::min(text.size(), kMaxWaiting - std::min(kMaxWaiting, waiting_.size()));
    waiting_.append(text, 0, taken);
    held = !push_locked();
  }
  if (held)
    fabric::ring(machine_.console_ring(port_).produced);  // whoever drains the console retries
  return taken;
}

std::optional<u64> TypedInput::push() {
  const std::lock_guard guard(mutex_);
  const std::size_t before = waiting_.size();
  if (push_locked()) {
    retry_ns_ = kFirstRetryNs;
    if (before != 0) room_.notify_all();
    return std::nullopt;
  }
  const bool moved = waiting_.size() < before;
  if (moved) room_.notify_all();
  retry_ns_ = moved ? kFirstRetryNs : std::min(retry_ns_ * 2, kLastRetryNs);
  return fabric::monotonic_ns() + retry_ns_;
}

void TypedInput::wait_for_room(const std::function<bool()>& until) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return waiting_.size() < kMaxWaiting || until(); });
}

void TypedInput::wake() {
  { const std::lock_guard guard(mutex_); }  // not between a waiter's look and its sleep
  room_.notify_all();
}

bool TypedInput::push_locked() {
  auto& reader_waits = machine_.console_ring(port_).reader_waits;
  for (bool told = false; !waiting_.empty();) {
    const std::size_t typed = machine_.console_input(port_, waiting_);
    waiting_.erase(0, typed);
    if (typed != 0) continue;
    if (told) return false;
    reader_waits.store(1);  // then look once more: room may have come in between
    told = true;
  }
  return true;
}

}  // namespace dvm::tools
