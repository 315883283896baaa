// What a guest says on its console while it runs a device benchmark's jobs
// (guest/programs/bench_*.sh), put beside KVM's counters at the same moments.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "tools/bench/exit_profile.h"

namespace dvm::tools {

// Of all guests that run now, since they were made.
struct KvmCounts {
  u64 exits = 0;
  u64 injected = 0;  // interrupts put into a vCPU
};
// From debugfs; none where that cannot be read.
std::optional<KvmCounts> kvm_counts();

// One job in one guest. What was not told or could not be counted is missing.
struct DeviceJobRun {
  std::optional<double> rate;        // in the job's unit
  std::optional<double> operations;  // requests, or packets in both directions
  std::optional<double> exits, injected;
  std::optional<double> interrupts;  // that the guest took for its virtio queues
  std::optional<ExitCounts> reasons;

  // The count for each operation.
  std::optional<double> per_operation(const std::optional<double>& count) const;
};

class DeviceLog {
 public:
  // Where counts come from when a job begins and ends; `clear` and `take` may be empty.
  struct Sources {
    std::function<std::optional<KvmCounts>()> counts;
    std::function<void()> clear;
    std::function<std::optional<ExitCounts>()> take;
  };
  explicit DeviceLog(Sources sources) : sources_(std::move(sources)) {}

  // A line of the console, without its end; most say nothing.
  void feed(std::string_view line);
  const std::map<std::string, DeviceJobRun>& jobs() const { return jobs_; }
  const std::string& failure() const { return failure_; }

 private:
  void begin(const std::string& job, double interrupts);
  void end(const std::string& job, double interrupts);

  Sources sources_;
  std::map<std::string, DeviceJobRun> jobs_;
  std::string failure_;  // of the last job that said it failed
  std::string running_;
  std::optional<KvmCounts> counts_before_;
  double interrupts_before_ = 0;
};

}  // namespace dvm::tools
