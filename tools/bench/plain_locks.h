// The locks that the pool's are measured against: the same ways of locking, by a word or by a
// queue, that know no owner and do not survive one. They wait as the pool's do (spin, then yield).
#pragma once

#include <pthread.h>

#include <atomic>

#include "fabric/backoff.h"

namespace dvm::bench {

struct TatasLock {
  std::atomic<u64> word;

  void lock() {
    u64 nobody = 0;
    if (word.load(std::memory_order_relaxed) == 0 &&
        word.compare_exchange_strong(nobody, 1, std::memory_order_acquire)) [[likely]] {
      return;
    }
    lock_contended();
  }
  void unlock() { word.store(0, std::memory_order_release); }

 private:
  [[gnu::noinline]] void lock_contended() {
    fabric::Backoff backoff;
    for (;;) {
      u64 seen = word.load(std::memory_order_relaxed);
      if (seen == 0) {
        if (word.compare_exchange_strong(seen, 1, std::memory_order_acquire)) return;
      } else if (backoff.spin()) {
        backoff.rest();
      }
    }
  }
};

// Mellor-Crummey and Scott's, with a node for each thread.
struct McsLock {
  struct alignas(64) Node {
    std::atomic<Node*> next;
    std::atomic<bool> waiting;
  };
  std::atomic<Node*> tail;

  void lock(Node& mine) {
    mine.next.store(nullptr, std::memory_order_relaxed);
    mine.waiting.store(true, std::memory_order_relaxed);
    Node* before = tail.exchange(&mine, std::memory_order_acq_rel);
    if (before != nullptr) wait_behind(*before, mine);
  }
  void unlock(Node& mine) {
    Node* next = mine.next.load(std::memory_order_acquire);
    if (next == nullptr) {
      Node* last = &mine;
      if (tail.compare_exchange_strong(last, nullptr, std::memory_order_release)) return;
      next = wait_for_link(mine);
    }
    next->waiting.store(false, std::memory_order_release);
  }

 private:
  [[gnu::noinline]] static void wait_behind(Node& before, Node& mine) {
    before.next.store(&mine, std::memory_order_release);
    fabric::Backoff backoff;
    while (mine.waiting.load(std::memory_order_acquire)) {
      if (backoff.spin()) backoff.rest();
    }
  }
  [[gnu::noinline]] static Node* wait_for_link(Node& mine) {
    fabric::Backoff backoff;
    Node* next = nullptr;
    while ((next = mine.next.load(std::memory_order_acquire)) == nullptr) {
      if (backoff.spin()) backoff.rest();
    }
    return next;
  }
};

// pthread's own answer to an owner that dies: process-shared and robust.
struct RobustMutex {
  pthread_mutex_t mutex;

  void init() {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(&mutex, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
  }
  void lock() { ::pthread_mutex_lock(&mutex); }
  void unlock() { ::pthread_mutex_unlock(&mutex); }
};

}  // namespace dvm::bench
