// Threads, each pinned to a CPU, that do the pieces of one phase after the other. Who is free takes
// the next piece, so a CPU that stands still delays one piece. They sleep between phases, as a
// CPU's spinning may be taken from another: virtual CPUs can share a processor.
#pragma once

#include <condition_variable>
#include <mutex>

#include "../common.h"

namespace jobs {

class Crew {
 public:
  using Piece = std::function<void(size_t piece, size_t worker)>;

  // The caller is the first of them.
  Crew(std::vector<int> cpus, size_t workers) : cpus_(std::move(cpus)), workers_(workers) {
    guest::Pin(cpus_.front());
    for (size_t i = 1; i < workers; i++) threads_.emplace_back([this, i] { Serve(i); });
  }
  ~Crew() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    begin_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  size_t workers() const { return workers_; }
  uint64_t units() const { return units_; }  // pieces done in all phases so far

  // piece(0..pieces-1), each once; returns when all are done.
  void Run(size_t pieces, const Piece& piece) {
    {
      std::lock_guard lock(mutex_);
      piece_ = &piece;
      pieces_ = pieces;
      next_ = 0;
      busy_ = workers_ - 1;
      phase_++;
    }
    begin_.notify_all();
    Take(0);
    std::unique_lock lock(mutex_);
    end_.wait(lock, [&] { return busy_ == 0; });
    units_ += pieces;
  }

 private:
  void Serve(size_t me) {
    guest::Pin(cpus_[me % cpus_.size()]);
    for (uint64_t seen = 0;; seen++) {
      {
        std::unique_lock lock(mutex_);
        begin_.wait(lock, [&] { return over_ || phase_ != seen; });
        if (over_) return;
      }
      Take(me);
      std::lock_guard lock(mutex_);
      if (--busy_ == 0) end_.notify_one();
    }
  }
  void Take(size_t me) {
    size_t mine;
    while ((mine = next_.fetch_add(1)) < pieces_) (*piece_)(mine, me);
  }

  std::vector<int> cpus_;
  const size_t workers_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable begin_, end_;
  uint64_t phase_ = 0, units_ = 0;
  size_t busy_ = 0;  // of the others, those still at this phase
  bool over_ = false;
  const Piece* piece_ = nullptr;
  size_t pieces_ = 0;
  std::atomic<size_t> next_{0};
};

}  // namespace jobs
