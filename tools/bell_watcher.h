// A thread that looks at something whenever its doorbell rings, and sleeps otherwise.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "fabric/doorbell.h"

namespace dvm::tools {

class BellWatcher {
 public:
  // Looks at what the bell is about. Returns when to look again even if it does not ring
  // (CLOCK_MONOTONIC, ns), or nothing. Must not throw.
  using Look = std::function<std::optional<u64>()>;

  // The first look is at once.
  BellWatcher(fabric::Doorbell& bell, Look look)
      : bell_(bell), look_(std::move(look)), thread_([this] { run(); }) {}
  ~BellWatcher() { stop(); }
  BellWatcher(const BellWatcher&) = delete;
  BellWatcher& operator=(const BellWatcher&) = delete;

  // After one more look the thread ends.
  void stop() {
    if (!thread_.joinable()) return;
    stopping_.store(true, std::memory_order_release);
    fabric::ring(bell_);
    thread_.join();
  }

 private:
  void run() {
    for (;;) {
      const u32 seen = fabric::listen(bell_);
      const bool last = stopping_.load(std::memory_order_acquire);
      const auto again = look_();
      if (last) return;
      fabric::wait(bell_, seen, again);
    }
  }

  fabric::Doorbell& bell_;
  const Look look_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace dvm::tools
