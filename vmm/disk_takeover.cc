#include "vmm/disk_takeover.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace dvm::vmm {
namespace {

using std::chrono::microseconds;

// Most often the I/O is over within the first; hundreds of milliseconds were seen (srt/README.md).
constexpr microseconds kFirstNap{100}, kLongestNap{5000};

}  // namespace

DiskTakeover::DiskTakeover(Drained drained, std::function<void()> tell)
    : drained_(std::move(drained)), tell_(std::move(tell)) {}

void DiskTakeover::take_over(u16 queue, const TakenOver& chains) {
  if (held_.empty()) since_ns_ = fabric::monotonic_ns();
  for (const u16 head : chains.heads) held_.push_back({queue, head, chains.generation});
  total_.fetch_add(chains.heads.size());
  waiting_.store(held_.size());
}

DiskTakeover::Released DiskTakeover::release() {
  if (held_.empty()) return {};
  if (!drained_()) {
    watch();
    return {};
  }
  waiting_.store(0);
  return {std::exchange(held_, {}), fabric::monotonic_ns() - since_ns_};
}

void DiskTakeover::drop() {
  held_.clear();
  waiting_.store(0);
}

void DiskTakeover::watch() {
  if (watching_.exchange(true)) return;
  watcher_ = std::jthread([this](const std::stop_token& stopped) {
    microseconds nap = kFirstNap;
    while (!stopped.stop_requested() && !drained_()) {
      std::this_thread::sleep_for(nap);
      nap = std::min(2 * nap, kLongestNap);
    }
    watching_.store(false);
    if (!stopped.stop_requested()) tell_();
  });
}

void DiskTakeover::stop() {
  watcher_.request_stop();
  if (watcher_.joinable()) watcher_.join();
}

}  // namespace dvm::vmm
