// How often guests left guest mode, as KVM itself counts: the same source for every VMM.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

// All exits of the guests that run now (debugfs); none where that cannot be read.
std::optional<u64> kvm_exit_count();

struct ExitCounts {
  std::map<std::string, u64>
      kernel;  // by what the CPU says; each ends in KVM or goes on to user space
  std::map<std::string, u64> user;  // those that went on to user space, by KVM_EXIT_*
};

// Counts by reason, by the kernel's tracepoints: costs each exit a little, so not for timed runs.
class ExitProfile {
 public:
  // Needs root and tracefs. In an instance of its own, so that other tracing goes on undisturbed.
  static Result<ExitProfile> start();
  ~ExitProfile();
  ExitProfile(ExitProfile&& other) noexcept : instance_(std::exchange(other.instance_, {})) {}
  ExitProfile& operator=(ExitProfile&&) = delete;

  Result<ExitCounts> take() const;
  Status clear() const;

 private:
  explicit ExitProfile(std::string instance) : instance_(std::move(instance)) {}
  std::string instance_;  // folder
};

struct HistogramLine {
  std::map<std::string, u64> keys;
  u64 hits = 0;
};
// "{ isa: 2, exit_reason: 123 } hitcount: 5" for every line of that form; others are skipped.
std::vector<HistogramLine> parse_histogram(std::string_view text);

}  // namespace dvm::tools
