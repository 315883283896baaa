// The words of `dvm-bench recovery`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fabric/result.h"
#include "fabric/types.h"

namespace dvm::tools {

struct RecoveryOptions {
  bool help = false;
  bool json = false;
  bool machinery = false;
  bool jobs = false;
  std::vector<std::string> job_names;  // empty: all
  std::string job_protection;          // empty: all
  u32 deaths = 10;                     // of each kind
  u32 rounds = 5;                      // of the overhead
  u32 seconds = 5;                     // of each work in a round
  u64 memory = 128 * kMiB;
  double limit_s = 300;
  std::optional<std::string> plot;
  std::string kernel;  // empty: that of the cache
  std::string initrd;

  bool wants_protection(const std::string& name) const;
  bool wants_job(const std::string& name) const;
};

Result<RecoveryOptions> parse_recovery_options(const std::vector<std::string>& words);
std::string recovery_help();

}  // namespace dvm::tools
