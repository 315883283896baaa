// What all guest programs share: options, CPUs, clocks, pinned threads, and the final verdict.
#pragma once

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace guest {

inline constexpr int kUsage = 64;

// Options are "--name value"; an unknown name is refused, so that a typing error never passes.
class Options {
 public:
  Options(int argc, char** argv, std::initializer_list<const char*> known) {
    for (int i = 1; i < argc; i += 2) {
      const char* name = argv[i];
      bool found = std::any_of(known.begin(), known.end(), [name](const char* k) {
        return strncmp(name, "--", 2) == 0 && strcmp(name + 2, k) == 0;
      });
      if (!found || i + 1 >= argc) {
        fprintf(stderr, "%s: unknown option or missing value: %s; options:", argv[0], name);
        for (const char* k : known) fprintf(stderr, " --%s", k);
        fprintf(stderr, "\n");
        exit(kUsage);
      }
      values_[name + 2] = argv[i + 1];
    }
  }
  std::string Text(const std::string& name, const std::string& otherwise) const {
    auto it = values_.find(name);
    return it == values_.end() ? otherwise : it->second;
  }
  double Number(const std::string& name, double otherwise) const {
    auto it = values_.find(name);
    if (it == values_.end()) return otherwise;
    char* end = nullptr;
    double value = strtod(it->second.c_str(), &end);
    if (end == it->second.c_str() || *end != '\0' || value < 0) {
      fprintf(stderr, "--%s: not a number: %s\n", name.c_str(), it->second.c_str());
      exit(kUsage);
    }
    return value;
  }

 private:
  std::map<std::string, std::string> values_;
};

// The first failure is kept for the last line; every failure up to a few is printed as it happens.
class Verdict {
 public:
  explicit Verdict(const char* name) : name_(name) { setvbuf(stdout, nullptr, _IOLBF, 0); }
  __attribute__((format(printf, 2, 3))) void Fail(const char* format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    int before = failures_.fetch_add(1);
    if (before == 0) snprintf(first_, sizeof first_, "%s", text);
    if (before < 20) printf("%s: failure: %s\n", name_, text);
  }
  bool ok() const { return failures_.load() == 0; }
  int Finish(const std::string& figures) const {
    if (ok()) {
      printf("%s: ok %s\n", name_, figures.c_str());
      return 0;
    }
    printf("%s: FAIL %s (failures: %d) %s\n", name_, first_, failures_.load(), figures.c_str());
    return 1;
  }

 private:
  const char* name_;
  std::atomic<int> failures_{0};
  char first_[256] = "";
};

__attribute__((format(printf, 1, 2))) inline std::string Format(const char* format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  return text;
}

inline int64_t Nanoseconds(clockid_t clock = CLOCK_MONOTONIC) {
  timespec t{};
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

class Deadline {
 public:
  explicit Deadline(double seconds) : end_(Nanoseconds() + static_cast<int64_t>(seconds * 1e9)) {}
  bool Passed() const { return Nanoseconds() >= end_; }
  double Left() const { return static_cast<double>(end_ - Nanoseconds()) / 1e9; }

 private:
  int64_t end_;
};

// The CPUs this process may use, by number.
inline std::vector<int> Cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(static_cast<size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

inline bool Pin(int cpu, pid_t thread = 0) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  return sched_setaffinity(thread, sizeof set, &set) == 0;
}

inline void Pause() { __builtin_ia32_pause(); }

// Spins a little, then yields: a waiter must not hold the CPU that its peer needs.
class Backoff {
 public:
  void Wait() {
    if (++spins_ % 128 == 0) {
      sched_yield();
    } else {
      Pause();
    }
  }

 private:
  unsigned spins_ = 0;
};

class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  size_t Below(size_t limit) { return static_cast<size_t>(Next() >> 11) % limit; }

 private:
  uint64_t state_;
};

// A reusable barrier that spins: used where threads must leave it close together.
class Barrier {
 public:
  explicit Barrier(size_t members) : members_(members) {}
  void Wait() {
    size_t round = round_.load();
    if (arrived_.fetch_add(1) + 1 == members_) {
      arrived_.store(0);
      round_.fetch_add(1);
      return;
    }
    Backoff backoff;
    while (round_.load() == round) backoff.Wait();
  }

 private:
  const size_t members_;
  std::atomic<size_t> arrived_{0};
  std::atomic<size_t> round_{0};
};

// Runs body(0..count-1) in threads; thread i is pinned to cpus[i % cpus.size()]; all start
// together.
inline void RunThreads(const std::vector<int>& cpus, size_t count,
                       const std::function<void(size_t)>& body) {
  Barrier start(count);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; i++) {
    threads.emplace_back([&, i] {
      Pin(cpus[i % cpus.size()]);
      start.Wait();
      body(i);
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace guest
