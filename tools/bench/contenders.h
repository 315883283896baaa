// Threads that stand ready and all do one thing at once, for a measured time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "fabric/types.h"

namespace dvm::bench {

// What one thread did in a run.
struct Work {
  u64 operations = 0;
  double elapsed_ns = 0;                  // from the start of all to this thread's end
  double sum_ns = 0, sum_squares_ns = 0;  // over the operations that were timed one by one
  u64 timed = 0;
  double counted_ns = 0;   // of `elapsed_ns`, what the thread itself counts for its operations
  bool disturbed = false;  // the kernel took its processor away in the middle
};

class Contenders {
 public:
  explicit Contenders(u32 threads);
  ~Contenders();
  Contenders(const Contenders&) = delete;
  Contenders& operator=(const Contenders&) = delete;

  // Whether each thread can have a processor of its own.
  bool fit_the_processors() const { return threads_.size() <= std::thread::hardware_concurrency(); }

  // Calls `work(thread, stop)` on every thread at once and returns what they did. Thread 0 is the
  // one to set `stop`, when `milliseconds` have passed by its own clock, so that no further thread
  // has to get a processor for it. With no more threads than processors, a run in which one was
  // preempted is repeated (20 times at most).
  using Body = std::function<Work(u32 thread, std::atomic<bool>& stop)>;
  std::vector<Work> run(const Body& work);

 private:
  std::vector<Work> run_once(const Body& work);
  void serve(u32 index);
  Work work_at_once(u32 index);

  std::mutex mutex_;
  std::condition_variable changed_;
  u64 round_ = 0;
  u32 busy_ = 0;
  bool ending_ = false;
  const Body* work_ = nullptr;
  std::vector<Work> results_;
  std::atomic<u32> ready_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

}  // namespace dvm::bench
