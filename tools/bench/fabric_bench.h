// What `dvm-bench fabric` measures. Each function runs its measurement and returns rows in the form
// that every dvm-bench prints; progress goes to stderr.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fabric/types.h"

namespace dvm::bench {

struct FabricRow {
  std::string name;
  std::string unit;
  double median = 0, p5 = 0, p95 = 0;
  u64 n = 0;
  std::string peer;  // empty: measured beside nothing
  double peer_median = 0;
  double ratio = 0;        // ours over the peer's, mean of paired runs
  double ratio_upper = 0;  // its upper 95 % bound (one-sided)
  double deviation = 0;    // standard deviation of one operation, in `unit`
  double peer_deviation = 0;
  std::optional<double> goal;  // of `ratio_upper`; none: reported only
  bool holds() const { return !goal || (n != 0 && ratio_upper <= *goal); }
};

struct FabricBenchSettings {
  u32 pairs = 100;      // paired runs for each row
  double run_ms = 2.0;  // of one run; ten times that with more threads than processors
  std::vector<u32> contenders = {1, 2, 4, 8, 16};  // for a lock, 1 to 16
};

// Nanoseconds for one acquire + a short critical section + release, at 1, 2, 4, 8, 16 contenders:
// PoolLock over TATAS and over a robust mutex, QueueLock over MCS.
std::vector<FabricRow> measure_locks(const FabricBenchSettings& settings);
// Nanoseconds for one allocate + free of 64-byte objects and of 4 KiB frames, by 1 and 2 threads,
// beside malloc + free of glibc, and of jemalloc and mimalloc where they are installed;
// microseconds to recover what a dead instance held.
std::vector<FabricRow> measure_allocator(const FabricBenchSettings& settings);

// [{"name":…}, …] in the form that every dvm-bench prints. One line for each row, for people.
std::string rows_as_json(const std::vector<FabricRow>& rows);
std::string rows_as_text(const std::vector<FabricRow>& rows);

}  // namespace dvm::bench
