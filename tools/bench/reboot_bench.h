// Boots and panics the machines in turns: one round runs each once on each kind of disk and with
// each size of memory, so that what disturbs the host disturbs them alike.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/bench/reboot_options.h"
#include "tools/bench/reboot_run.h"
#include "tools/bench/test_disk.h"

namespace dvm::tools {

// A machine, a kind of disk, a size of memory; a round that failed has no trace.
struct RebootSeries {
  std::string rebooter;
  DeviceClass device{};
  u64 memory = 0;
  std::vector<std::optional<RebootTrace>> rounds;
  std::vector<std::string> failures;
};

struct RebootPrograms {
  std::string dvm_run, dvm_ctl;
};

class RebootBench {
 public:
  using Progress = std::function<void(const std::string&)>;
  RebootBench(const RebootOptions& options, RebootPrograms programs, Progress progress);
  // An error: there is no disk to measure with, or the image does not boot.
  Result<std::vector<RebootSeries>> run();

 private:
  Status settle_image();
  Status run_once(RebootSeries& series, TestDisk& disk, u32 round);
  Result<RebootRun> run_of(const std::string& rebooter, u64 memory, const std::string& disk) const;

  RebootOptions options_;
  RebootPrograms programs_;
  Progress progress_;
  std::vector<RebootSeries> all_;
};

}  // namespace dvm::tools
