// Boots the contenders in turns: one round boots each once, so that what disturbs the machine
// disturbs them alike.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench/bench_stats.h"
#include "tools/bench/boot_contender.h"
#include "tools/bench/console_run.h"
#include "tools/bench/exit_profile.h"

namespace dvm::tools {

// One contender's rounds. A round that failed has no values, and is in `failures`.
struct BootSamples {
  Contender contender;
  Series userspace_s, end_s, exits;
  Series hand_overs, faults;  // of software coherence, until the end
  Series guest_s;  // to user space by the guest's own clock, which starts with its kernel
  std::vector<std::string> failures;
  std::optional<ExitCounts> reasons;
};

// "DVM-USERSPACE 2.17": the seconds; none where there are none.
std::optional<double> guest_seconds(const std::string& line);
// Why a run was no good boot; none for a good one.
std::optional<std::string> boot_failure(const ConsoleRun& run, double limit_s);

class BootBench {
 public:
  // `progress` is told a line at a time.
  BootBench(const BootOptions& options, std::vector<Contender> contenders,
            std::function<void(const std::string&)> progress);
  // A warm-up round, the rounds that count and, if asked for, the one for the reasons.
  std::vector<BootSamples> run();

 private:
  enum class Round { warm_up, counted };
  void run_round(Round kind, const std::string& title);
  void boot_once(BootSamples& samples, Round kind, const std::string& title);
  void run_reasons();
  bool given_up(const BootSamples& samples) const;

  BootOptions options_;
  std::vector<BootSamples> all_;
  std::function<void(const std::string&)> progress_;
};

}  // namespace dvm::tools
