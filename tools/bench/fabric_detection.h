// How long it takes from a process's SIGKILL until it is confirmed stopped, from there until a
// waiting member of its group has read of its death, and until its (empty) recovery is over and
// told. Beside it the kernel's part, a process that sleeps in
// the robust futex of one that is killed, and its own news, by pidfd.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::bench {

struct DetectionSettings {
  std::vector<u64> mapped_bytes = {4 * kMiB, 64 * kMiB, 512 * kMiB,
                                   2 * kGiB};  // touched, in the dying process
  u32 rounds = 41;                             // deaths for each size, the sizes in turn
};

// In the form that every `dvm-bench … --json` prints; the goal is for the median, or for the ratio
// where there is a peer.
struct DetectionRow {
  std::string name, unit;
  double median = 0, p5 = 0, p95 = 0;
  u64 n = 0;
  std::string peer;  // empty: none
  double peer_median = 0;
  std::optional<double> goal;
  double ratio() const { return peer_median > 0 ? median / peer_median : 0; }
  bool holds() const { return !goal || (peer.empty() ? median : ratio()) <= *goal; }
};

// Runs a fabric manager, a member that waits, and one process after the other that is killed, all
// forked from this one, which must have no other threads. Some seconds, most of them to touch
// memory. Error: a process could not be started or a death was not announced within 30 s.
Result<std::vector<DetectionRow>> measure_detection(const DetectionSettings& settings);

// [{"name":…}, …], and one line for each row, for people.
std::string detection_json(const std::vector<DetectionRow>& rows);
std::string detection_text(const std::vector<DetectionRow>& rows);

}  // namespace dvm::bench
