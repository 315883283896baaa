#include "tools/bench/contenders.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

namespace dvm::bench {
namespace {

constexpr int kTries = 20;

long preemptions() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

}  // namespace

Contenders::Contenders(u32 threads) {
  for (u32 i = 0; i < threads; ++i) threads_.emplace_back([this, i] { serve(i); });
}

Contenders::~Contenders() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (auto& t : threads_) t.join();
}

std::vector<Work> Contenders::run(const Body& work) {
  std::vector<Work> results = run_once(work);
  if (!fit_the_processors()) return results;
  for (int i = 1; i < kTries && std::ranges::any_of(results, &Work::disturbed); ++i)
    results = run_once(work);
  return results;
}

std::vector<Work> Contenders::run_once(const Body& work) {
  stop_.store(false);
  ready_.store(0);
  std::unique_lock lock(mutex_);
  results_.assign(threads_.size(), {});
  work_ = &work;
  busy_ = static_cast<u32>(threads_.size());
  ++round_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return busy_ == 0; });
  return results_;
}

Work Contenders::work_at_once(u32 index) {
  using Clock = std::chrono::steady_clock;
  ready_.fetch_add(1);
  while (ready_.load(std::memory_order_relaxed) < threads_.size()) ::sched_yield();
  const long before = preemptions();
  const auto start = Clock::now();
  Work work = (*work_)(index, stop_);
  work.elapsed_ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  work.disturbed = preemptions() != before;
  return work;
}

void Contenders::serve(u32 index) {
  u64 done = 0;
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ending_ || round_ != done; });
    if (ending_) return;
    done = round_;
    lock.unlock();
    const Work work = work_at_once(index);
    lock.lock();
    results_[index] = work;
    if (--busy_ == 0) changed_.notify_all();
  }
}

}  // namespace dvm::bench
